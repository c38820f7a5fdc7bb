fn main() -> anyhow::Result<()> {
    tcpchan_bench::main(None)
}
