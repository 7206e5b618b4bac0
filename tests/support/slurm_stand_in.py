"""Stand-ins for the commands of Slurm that a sweep uses, on one machine: each job runs at once, as a process.

Called by the name of a command (sbatch, srun, sacct, scancel); jobs leave their exit status in $SLURM_STAND_IN.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

JOB = "4711"


def sbatch(script: Path) -> None:
    """Start every task of an array."""
    text = script.read_text()
    last = int(re.search(r"--array=0-(\d+)%", text)[1])
    state = Path(os.environ["SLURM_STAND_IN"])
    number = str(int(JOB) + len(list(state.glob("*.sh"))))
    (state / f"{number}.sh").write_text(text)
    for task in range(last + 1):
        told = {
            "SLURM_JOB_ID": f"{number}{task}", "SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
        }  # fmt: skip
        command = f"bash {script}; echo $? > {state}/{number}_{task}"
        process = subprocess.Popen(
            ["bash", "-c", command], env=os.environ | told, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        (state / f"{number}_{task}.session").write_text(str(process.pid))
    print(f"Submitted batch job {number}")


def srun(words: list[str]) -> int:
    """Run a command with its output in files."""
    *_, output, _, error, program = words[:6] if "--error" in words else [*words[:3], "", "", words[3]]
    name = os.environ["SLURM_ARRAY_JOB_ID"], os.environ["SLURM_ARRAY_TASK_ID"]

    def opened(pattern: str) -> int:
        path = pattern.replace("%A", name[0]).replace("%a", name[1]).replace("%t", "0").replace("%j", "_".join(name))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    command = words[words.index(program) :]
    return subprocess.run(command, stdout=opened(output), stderr=opened(error), check=False).returncode


def sacct() -> None:
    """Print the state of every task."""
    print("JobID|State|NodeList")
    for script in Path(os.environ["SLURM_STAND_IN"]).glob("*.sh"):
        last = int(re.search(r"--array=0-(\d+)%", script.read_text())[1])
        for task in range(last + 1):
            done = script.with_name(f"{script.stem}_{task}")
            ended = done.read_text().strip() if done.exists() else ""
            state = "RUNNING" if not ended else "COMPLETED" if ended == "0" else "FAILED"
            print(f"{script.stem}_{task}|{state}|here")


def scancel(numbers: list[str]) -> None:
    """End all tasks of jobs."""
    for number in numbers:
        for session in Path(os.environ["SLURM_STAND_IN"]).glob(f"{number}_*.session"):
            with suppress(ProcessLookupError):
                os.killpg(int(session.read_text()), signal.SIGKILL)


if __name__ == "__main__":
    name, *rest = Path(sys.argv[0]).name, *sys.argv[1:]
    if name == "sbatch":
        sbatch(Path(rest[-1]))
    elif name == "srun":
        raise SystemExit(srun(rest))
    elif name == "sacct":
        sacct()
    elif name == "scancel":
        scancel(rest)
