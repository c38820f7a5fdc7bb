"""Replays the conversations of an echo server: `replay.py HOST PORT`. It knows no more
than the vectors say, and is one page long, to show that a program in any language can."""

import io, json, pathlib, socket, struct, sys

OPS = {1: "HELLO magic I", 2: "HELLO_REPLY magic I", 3: "OPEN channel I", 4: "CLOSE channel I", 5: "DATA",
       16: "WINDOW limit Q loan I", 17: "FIN debt Q", 18: "STOP code I", 19: "RESET code I debt Q",
       20: "PING token Q", 21: "PONG token Q", 22: "MAX_CHANNELS count I", 23: "DRAIN",
       24: "GOAWAY last I code I", 25: "RETURN total Q"}
ANY_TIME = ("PING", "PONG", "WINDOW", "MAX_CHANNELS", "RETURN")

def vectors(file, name):
    return json.loads((pathlib.Path(__file__).parent.parent / "vectors" / file).read_text())[name]

def filled(hex, of):
    return bytes.fromhex(hex) + bytes([of["fill"]["byte"]]) * of["fill"]["count"] if "fill" in of else bytes.fromhex(hex)

def read(stream):  # the next frame as the vectors have it, None at the end
    if len(head := stream.read(6)) < 6:
        return None
    version, op, channel = struct.unpack(">BBI", head)
    (name, *fields), body, frame = OPS[op].split(), head[2:], {"version": version}
    if op >= 5:
        body, frame = stream.read(int.from_bytes(stream.read(2), "big")), frame | {"channel": channel}
    for field, kind in zip(fields[::2], fields[1::2]):
        value, body = struct.unpack_from(">" + kind, body)[0], body[struct.calcsize(kind):]
        frame[field] = str(value) if kind == "Q" else value
    name = "SETTINGS" if op == 5 and version == 1 and channel == 0 else name
    return frame | {"op": name, "body": body} | ({"text": body.decode()} if op == 24 else {})

def same(frame, wanted, version=1, of_peer=False):  # `*` is any value, and a peer's settings are its own
    def right(field, value):
        value = filled(value, wanted) if field == "body" else value
        return value in ("*", frame[field]) or field == "body" and of_peer and frame["op"] == "SETTINGS"
    return frame and frame["version"] == version and all(right(*item) for item in wanted.items() if item[0] != "fill")

def play(conversation, address):
    sock, greeted, frame = socket.create_connection(address, timeout=5), False, False
    with sock, sock.makefile("rb") as stream:
        for step in (step for step in conversation["steps"] if "from" in step):
            if step["from"] == "client":
                sock.shutdown(socket.SHUT_WR) if "end" in step else sock.sendall(filled(step["hex"], step))
                greeted = "end" not in step and (greeted or step.get("frame", {}).get("op") == "SETTINGS")
                continue
            frame = read(stream) if frame is False else frame
            right = lambda: frame is None if "end" in step else same(frame, step["frame"], step.get("version", 1), True)
            while frame and frame["op"] in ANY_TIME and not right():
                if frame["op"] == "PING" and greeted and "end" not in step:  # it may have closed
                    sock.sendall(struct.pack(">BBIHQ", 1, 21, 0, 8, int(frame["token"])))
                frame = read(stream)
            assert right() or step.get("optional"), (conversation["name"], step, frame)
            frame = False if frame and right() else frame

for vector in (v for v in vectors("frames.json", "frames") if v["frame"]):
    found = read(io.BytesIO(filled(vector["hex"], vector)))
    assert same(found, vector["frame"], vector["version"]), (vector["name"], found)
echoes = [c for c in vectors("conversations.json", "conversations") if c.get("echo") and "server" in c["test"]]
for conversation in echoes:
    play(conversation, (sys.argv[1], int(sys.argv[2])))
print(len(echoes), "conversations")
