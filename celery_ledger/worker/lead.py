"""Lets one of all clocks do a piece of work, while the others leave it alone."""

from django.db import connection

from celery_ledger.conf import ledger_settings

LEAD = 0x6B616974  # the first key of the clocks' advisory locks


def we_lead(work: str) -> bool:
    """Whether this clock does that work now, until its transaction ends; False while another clock
    does it. A clock that freezes in the lead loses it after LEAD_S, with its session.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s)),"
            " set_config('idle_in_transaction_session_timeout', %s, true)",
            [LEAD, work, f"{ledger_settings.LEAD_S}s"],
        )
        return bool(cursor.fetchone()[0])
