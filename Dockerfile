# The command alone, in an image without anything else:
#   docker build -t tcpchan --build-arg COMMIT=$(git rev-parse HEAD) .
#   docker run --rm -p 8080:8080 tcpchan relay --listen 0.0.0.0:8080 --to server.example:9000
# Rust for Alpine links against musl, statically. tests/static.sh builds and tries the same
# with glibc.
FROM rust:1-alpine AS build
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /src
COPY . .
ARG COMMIT=
RUN TCPCHAN_COMMIT=$COMMIT \
    cargo install --locked --no-track --path . --features cli --root /out

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bin/tcpchan /tcpchan
USER 65534:65534
ENTRYPOINT ["/tcpchan"]
