"""Makes a virtual environment with the pinned packages in the folder argv[1],
once: runs that come at the same time wait for the first. Prints the path of
its Python."""

import fcntl
import os
import subprocess
import sys
import venv

folder = os.path.abspath(sys.argv[1])
requirements = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.txt")
python = os.path.join(folder, "venv", "bin", "python")
done = os.path.join(folder, "done")

os.makedirs(folder, exist_ok=True)
with open(requirements) as file:
    wanted = file.read()
with open(os.path.join(folder, "lock"), "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    there = open(done).read() if os.path.exists(done) else None
    if there != wanted:
        venv.create(os.path.join(folder, "venv"), clear=True, with_pip=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
        subprocess.run(
            pip + ["--require-hashes", "-r", requirements], check=True, stdout=sys.stderr
        )
        with open(done, "w") as file:
            file.write(wanted)
print(python)
