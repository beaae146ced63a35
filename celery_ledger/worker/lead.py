"""Of many clocks one leads a piece of work, and the others leave it alone."""

from django.db import connection

from celery_ledger.conf import ledger_settings

LEAD = 0x6B616974  # the advisory locks of the clocks


def we_lead(work: str) -> bool:
    """False while another clock does the same work; then it is done for us too. One that froze
    loses the lead after LEAD_S, and does not keep the others from the work.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s)),"
            " set_config('idle_in_transaction_session_timeout', %s, true)",
            [LEAD, work, f"{ledger_settings.LEAD_S}s"],
        )
        return bool(cursor.fetchone()[0])
