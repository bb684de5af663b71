"""`python -m MODULE ...` and `python -c CODE` without the seconds that importing the libraries takes.

One process imports the libraries but nothing of this project, and computes nothing. It forks for each command, so that
every command has its own interpreter: `sys.path`, environment, working directory, streams and exit code are those
of a newly started Python. On systems other than Linux, whose libraries may not survive a fork, a new Python is
started.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

LIBRARIES = """
    torch torch.distributed torch.utils.tensorboard numpy scipy.ndimage scipy.optimize nibabel itk pydicom fire
    ignite.engine ignite.handlers monai.bundle monai.engines monai.handlers monai.inferers monai.losses monai.transforms
""".split()


class PreparedPython:
    """Runs commands one after another; `close` ends the process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, *arguments: object, cwd: Path | str | None = None, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Like `subprocess.run([sys.executable, *arguments], capture_output=True, text=True)`."""
        words, environment = [str(argument) for argument in arguments], dict(os.environ if env is None else env)
        if sys.platform != "linux":
            command = [sys.executable, *words]
            return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        with tempfile.TemporaryDirectory() as folder:
            job = {"arguments": words, "cwd": str(cwd or os.getcwd()), "env": environment, "folder": folder}
            code = self._answer(json.dumps(job))
            out, err = ((Path(folder) / name).read_text(errors="replace") for name in ("out", "err"))
        return subprocess.CompletedProcess(words, code, out, err)

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.communicate()

    def _answer(self, job: str) -> int:
        if self._process is None:
            # Without the project on its path: what a command finds there is up to its own PYTHONPATH.
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            self._process = subprocess.Popen(
                [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin and self._process.stdout
        print(job, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def serve() -> None:
    """Fork for each line of stdin and print the child's exit code; in the child, return to run the command."""
    sys.path.remove(str(Path(__file__).parent))
    for name in LIBRARIES:
        __import__(name)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            become(job)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def become(job: Mapping[str, object]) -> None:
    """Set streams, environment, working directory and arguments as the job requires."""
    for descriptor, name in ((0, os.devnull), (1, f"{job['folder']}/out"), (2, f"{job['folder']}/err")):
        opened = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(job["env"])  # type: ignore[call-overload]
    os.chdir(str(job["cwd"]))
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = ["", *(os.path.abspath(path) for path in paths)]
    sys.argv = job["arguments"]  # type: ignore[assignment]


if __name__ == "__main__":
    import runpy

    serve()
    option, what, *_ = sys.argv
    sys.argv = sys.argv[1:] if option == "-m" else ["-c", *sys.argv[2:]]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        # In a namespace of its own, as the module __main__: what it defines can be pickled for its own processes.
        module = type(sys)("__main__")
        sys.modules["__main__"] = module
        exec(compile(what, "<string>", "exec"), module.__dict__)
