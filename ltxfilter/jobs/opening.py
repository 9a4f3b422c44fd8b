"""Whether a conversion is a plain run or a job in segments."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from ltxfilter.media.format_names import STDIN_NAMES
from ltxfilter.media.opening import open_source
from ltxfilter.options import JobOptions, Options, available_threads
from ltxfilter.pipeline.assemble import input_of
from ltxfilter.pipeline.report import open_report
from ltxfilter.pipeline.run import OpenRecord, Run

if TYPE_CHECKING:
    from ltxfilter.jobs.driver import Job


def open_run(options: Options, open_record: OpenRecord = open_report) -> Run | Job:
    """Open a plain run, or a job where segments are asked for and pay.

    open_record: opens the reports that `options` name. Raises LtxFilterError.
    """
    job = options.job
    if not job.wanted:
        return Run(options, open_record=open_record)
    if job.workers == 0 and job.resume == "no" and job.ray is None and not _pays(options):
        return Run(replace(options, job=JobOptions()), open_record=open_record)
    from ltxfilter.jobs.driver import Job  # a plain run starts without what jobs need

    return Job(options, open_record)


def _pays(options: Options) -> bool:
    """Return True if several workers are faster than one process."""
    from ltxfilter.jobs.workers.shares import CORES_PER_WORKER, worker_count

    if options.input.path in STDIN_NAMES or available_threads() < 2 * CORES_PER_WORKER:
        return False
    with closing(open_source(input_of(options))) as source:
        duration = source.duration
    if duration is None:
        return False
    return worker_count(options, int(duration / options.job.segment_seconds) + 1) > 1
