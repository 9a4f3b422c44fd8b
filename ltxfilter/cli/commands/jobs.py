"""`ltxfilter jobs`: which jobs were begun and not finished, and what to type to carry on."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

from ltxfilter.cli.text_output import write_text
from ltxfilter.errors import OutputError

if TYPE_CHECKING:
    from ltxfilter.jobs.index import KnownJob


@click.command("jobs")
@click.option("--clean", is_flag=True, help="Remove their finished segments; outputs stay.")
def jobs_command(*, clean: bool) -> int:
    """List the jobs of --resume that are not finished, and how to carry on with each."""
    from ltxfilter.jobs.index import forget_job, known_jobs

    unfinished = []
    for job in known_jobs():
        if job.is_finished or not job.folder.exists():
            if not job.folder.exists() and not job.is_finished:
                forget_job(job)  # somebody removed what it had
            continue
        unfinished.append(job)
    if not unfinished:
        write_text("no unfinished jobs")
        return 0
    if clean:
        return _clean(unfinished)
    for job in unfinished:
        for line in _described(job):
            write_text(line)
    return 0


def _described(job: KnownJob) -> list[str]:
    """Return what a job is, how far it is, and what to type."""
    share = 100 * job.stored / job.planned if job.planned else 0
    state = "running" if job.is_running else "not running"
    lines = [f"{job.output}: {job.stored} of {job.planned} segments ({share:.0f} %), {state}"]
    command = [str(word) for word in job.details.get("command", ())]
    if command and not job.is_running:
        where = shlex.quote(str(job.details.get("directory", os.curdir)))
        lines.append(f"  cd {where} && {shlex.join(['ltxfilter', *command])}")
    return lines


def _clean(jobs: list[KnownJob]) -> int:
    """Remove the segments of all jobs that nobody works on. Raises OutputError if some stay."""
    from ltxfilter.jobs.index import forget_job
    from ltxfilter.jobs.journal import discard_folder

    busy = []
    for job in jobs:
        if discard_folder(job.folder):
            forget_job(job)
            write_text(f"removed {job.folder}")
        else:
            busy.append(job.output)
    if busy:
        raise OutputError(f"{', '.join(busy)}: is being worked on; its segments stay")
    return 0
