"""A MONAI Label server as a child process, and the requests that its clients send."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODEL = "liver_tumor_ct_25d"
START, ANSWER, TASK = 240.0, 300.0, 420.0  # seconds to wait at most


class LabelServer:
    """The real server with its app and studies, on a free port of the loopback interface, in a process group."""

    def __init__(self, python: Path, app: Path, studies: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.log_file = folder / "server.log"
        # `zoo_source ngc`: the default asks the model zoo for its list, even for a bundle that is there.
        command = f"{python.parent}/monailabel start_server --app {app} --studies {studies} --host 127.0.0.1"
        command += f" --port {port} --conf models {MODEL} --conf zoo_source ngc --conf sam2 false"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MONAI"))}
        own = {"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(folder), "TMPDIR": str(folder)}
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                command.split(),
                cwd=folder,
                env={**kept, **own, "CUDA_VISIBLE_DEVICES": ""},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """The output of the server and its tasks so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self) -> None:
        """Wait until the server responds."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.get("/info/")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        raise TimeoutError(self.log[-3000:])

    def stop(self) -> None:
        """Stop the server and all processes that it started."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(timeout=20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def get(self, path: str) -> Any:
        """Get the JSON at a path."""
        return json.loads(self._answer("GET", path, None, {}))

    def post(self, path: str, content: Mapping[str, Any]) -> Any:
        """Post a JSON and return the JSON response."""
        return json.loads(
            self._answer("POST", path, json.dumps(content).encode(), {"Content-Type": "application/json"})
        )

    def infer(self, image: str, **options: Any) -> bytes:
        """Request the label map (.nii.gz) of an image, with options as sent by a viewer."""
        return self._form("POST", f"/infer/{MODEL}?image={image}&output=image", {"params": json.dumps(options)}, {})

    def save_label(self, image: str, label: Path) -> Any:
        """Submit a finished label map, as a viewer does."""
        return json.loads(
            self._form("PUT", f"/datastore/label?image={image}&tag=final", {"params": "{}"}, {"label": label})
        )

    def finished(self, path: str) -> dict[str, Any]:
        """Wait for a task (`/train/`, `/batch/infer`) and return its final state."""
        deadline = time.monotonic() + TASK
        while time.monotonic() < deadline:
            task: dict[str, Any] = self.get(path)
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(0.5)
        raise TimeoutError(self.log[-3000:])

    def train(self, **options: Any) -> dict[str, Any]:
        """Train in the background, as a viewer does, and wait for the end."""
        self.post(f"/train/{MODEL}", options)
        return self.finished("/train/")

    def _form(self, method: str, path: str, fields: Mapping[str, str], files: Mapping[str, Path]) -> bytes:
        boundary = uuid.uuid4().hex
        parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
        parts += [(f'name="{name}"; filename="{file.name}"', file.read_bytes()) for name, file in files.items()]
        head = f"--{boundary}\r\nContent-Disposition: form-data; "
        body = b"".join(f"{head}{name}\r\n\r\n".encode() + content + b"\r\n" for name, content in parts)
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._answer(method, path, body + f"--{boundary}--\r\n".encode(), kind)

    def _answer(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(self.address + path, data=body, headers=headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=ANSWER) as answer:
            content: bytes = answer.read()
        return content
