"""`manage.py jobs stats|list|show|why|retry|cancel`"""

import argparse
import getpass
import os
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from celery_ledger.models import RETRYABLE, Job, State
from celery_ledger.operations import interventions, listing, why

LIST_MAX = 1000


class Command(BaseCommand):
    help = "Look into the ledger, and put right what a person has to."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        stats = actions.add_parser("stats", help="counts by task and state, what waits, who works")
        stats.set_defaults(do=self.stats)
        listed = actions.add_parser("list", help="one line a job, newest first")
        listed.add_argument("--state", choices=State.values)
        listed.add_argument("--task", help="the full name, e.g. proj.tasks.add")
        listed.add_argument(
            "--limit", type=_limit, default=20, help=f"1 to {LIST_MAX}; 20 unless told"
        )
        listed.set_defaults(do=self.listing)
        show = actions.add_parser("show", help="every column of one job")
        show.set_defaults(do=self.show)
        why = actions.add_parser("why", help="one job's story, and why it does not run now")
        why.set_defaults(do=self.why)
        retry = actions.add_parser(
            "retry", help="dead or cancelled jobs wait again, due now, counted as new"
        )
        retry.add_argument("--task", help="all of this task instead of single jobs")
        retry.add_argument(
            "--state", choices=[str(state) for state in RETRYABLE], help="with --task"
        )
        retry.set_defaults(do=self.retry)
        cancel = actions.add_parser("cancel", help="waiting jobs will not run")
        cancel.add_argument("--task", help="all that wait of this task instead of single jobs")
        cancel.set_defaults(do=self.cancel)
        for action, number in ((show, None), (why, None), (retry, "*"), (cancel, "*")):
            action.add_argument("ids" if number else "id", metavar="ID", nargs=number)

    def handle(self, *args: Any, **options: Any) -> None:
        options["do"](options)

    def stats(self, options: dict[str, Any]) -> None:
        self.stdout.write(listing.stats())

    def listing(self, options: dict[str, Any]) -> None:
        filters = {name: options[name] for name in ("state", "task") if options[name]}
        self.stdout.write(listing.listing(Job.objects.filter(**filters), limit=options["limit"]))

    def show(self, options: dict[str, Any]) -> None:
        self.stdout.write(_found(options["id"], listing.sheet(_id(options["id"]))))

    def why(self, options: dict[str, Any]) -> None:
        self.stdout.write(_found(options["id"], why.story_of(_id(options["id"]))))

    def retry(self, options: dict[str, Any]) -> None:
        _one_way(
            options, "Name the jobs by their ids, or all of one task by --task T --state dead."
        )
        if options["state"] and not options["task"]:
            sentence = "--state goes with --task: a job named by its id is in its own state."
            raise CommandError(sentence)
        if options["ids"]:
            ids = [_id(text) for text in options["ids"]]
            retried = interventions.retry(Job.objects.filter(pk__in=ids), by=_me())
            self._report(ids, retried, "waits again, due now", interventions.WHY_NOT_RETRIED)
            return
        jobs = Job.objects.filter(task=options["task"], state=options["state"] or State.DEAD)
        number = len(interventions.retry(jobs, by=_me()))
        self.stdout.write(f"Jobs of {options['task']} that wait again, due now: {number}.")

    def cancel(self, options: dict[str, Any]) -> None:
        _one_way(options, "Name the jobs by their ids, or all that wait of one task by --task T.")
        if options["task"]:
            number = len(interventions.cancel(Job.objects.filter(task=options["task"]), by=_me()))
            self.stdout.write(f"Jobs of {options['task']} that are cancelled: {number}.")
            return
        ids = [_id(text) for text in options["ids"]]
        cancelled = interventions.cancel(Job.objects.filter(pk__in=ids), by=_me())
        self._report(ids, cancelled, "is cancelled", interventions.WHY_NOT_CANCELLED)

    def _report(
        self, ids: list[UUID], changed: list[Job], outcome: str, why_not: dict[State, str]
    ) -> None:
        """Say what became of each; those left alone make the exit code 1."""
        for job in changed:
            self.stdout.write(f"Job {job.pk} ({job.task}) {outcome}.")
        left = Job.objects.defer("args", "result").in_bulk(set(ids) - {job.pk for job in changed})
        unknown = set(ids) - {job.pk for job in changed} - set(left)
        refused = [interventions.refusal(job, why_not) for job in left.values()]
        refused += [_unknown(id_) for id_ in sorted(unknown)]
        if refused:
            raise CommandError("\n".join(refused))


def _one_way(options: dict[str, Any], sentence: str) -> None:
    """By ids or by the task, and not by both or neither."""
    if bool(options["ids"]) == bool(options["task"]):
        raise CommandError(sentence)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIST_MAX):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {LIST_MAX}")
    return int(text)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as exc:
        raise CommandError(f"{text!r} is no job's id; `manage.py jobs list` shows them.") from exc


def _found(text: str, answer: str | None) -> str:
    if answer is None:
        raise CommandError(_unknown(text))
    return answer


def _unknown(id_: object) -> str:
    return f"There is no job {id_}; finished ones are pruned after a while."


def _me() -> str:
    """Who sits at this terminal, for the log."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return f"uid {os.getuid()}"
