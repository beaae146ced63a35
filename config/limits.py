"""Every limit of the shop that no variable sets, each with a name and a number.

`config/settings.py` takes them all in; those of the ledger stand in `celery_ledger/conf.py`.
"""

from datetime import timedelta

SECRETS_MIN_CHARS = {
    "SECRET_KEY": 32,
    "WEBHOOK_MASTER_KEY": 16,
    "METRICS_TOKEN": 8,
    "MAIL_EVENTS_SECRET": 16,
}  # or guessed

# --- a web process --------------------------------------------------------------------------------
WEB_THREADS = 5  # each keeps a connection to Postgres; with two dynos of each kind they fit into 20
WEB_CONNECTIONS = 500  # of one web process
# for the head of a request; its body may take as long again, and the time it needs at
WEB_READ_LIMIT_S = 10.0
WEB_READ_MIN_BYTES_S = 32 * 1024  # ... a second
WEB_ANSWER_LIMIT_S = 20.0  # for the client to take its answer
# of all requests that are arriving; most of it is on the disk
WEB_ARRIVING_MAX_BYTES = 256 * 1024 * 1024
WEB_WAIT_PLACES = 2  # threads that may wait for a client, when there is no room for its answer
WEB_UNSENT_MAX_BYTES = 16 * 1024 * 1024  # of all answers that wait for their clients
LOGIN_PLACES = 1  # of a web process: a password takes a core for up to a second
AXES_FAILURE_LIMIT = 10  # wrong passwords, of a name or from an address
AXES_COOLOFF_TIME = timedelta(minutes=10)  # after which they are forgotten

# --- a request and its answer ---------------------------------------------------------------------
BODY_MAX_BYTES = 1024 * 1024
IMPORT_MAX_BYTES = 20 * 1024 * 1024
BODY_MAX_BYTES_OF = {  # whose own limit is another
    "/v1/imports": IMPORT_MAX_BYTES,
    "/ops/files/imports/new/": IMPORT_MAX_BYTES,
}
JSON_MAX_DEPTH = 32
JSON_INTEGER_MAX_DIGITS = 18
JSON_VALUES_MAX = 10_000  # of one document; the largest order has some 1,500
PROBLEM_ERRORS_MAX = 50  # that a refusal names; each with so long a pointer and message at most
PROBLEM_TEXT_MAX_CHARS = 500
RATE_LIMIT_KEYS_MAX = 10_000
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_MAX_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
# what `Prefer: wait` gets at most; a stopping web process waits longer than that
PREFER_WAIT_MAX_S = 10
# requests of one web process that wait at a time; the other WEB_THREADS are for the others
PREFER_WAIT_PLACES = 2
PREFER_POLL_S = 0.1
KEY_USED_EVERY = timedelta(minutes=10)  # it is noted that a key is used
IDEMPOTENCY_WAIT_MS = 2000
IDEMPOTENCY_KEEP = timedelta(days=30)

# --- Postgres: no transaction grows old (I13); `manage.py release` sets these for the role -------
POSTGRES_LIMITS = {
    "statement_timeout": "20s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "transaction_timeout": "60s",  # Postgres 17 and later
}
DATABASE_RETRY_AFTER_S = 5
RELEASE_WAIT_S = 600.0  # how long a release waits for another one to end

# --- mail and webhooks ----------------------------------------------------------------------------
MAIL_TIMEOUT_S = 10  # for each answer of the mail server
MAIL_DEADLINE_S = 30.0  # for all of a call
MAIL_CONNECTIONS_IDLE_MAX = 4  # of a process, open for the next mail
MAIL_CONNECTION_IDLE_MAX_S = 60
MAILS_PER_CONNECTION_MAX = 100  # many servers end a connection after so many
MAIL_HTML_LINES_MAX = 30  # of a list in its HTML form, which stays under 40 kB; the text has all
WEBHOOK_TIMEOUT_S = 5  # for all of a call
# an endpoint whose answers take longer is called once at a time, and rests in between
WEBHOOK_QUICK_S = 1.0
# for the beginning of an answer's body, which is kept; the status has decided by then
WEBHOOK_BODY_WAIT_S = 0.25
WEBHOOK_BODY_MAX_BYTES = 4096
# connections to endpoints that wait for the next call: of a process, and of those to one endpoint;
# for less time than most servers keep one (5 s), and none for longer than names are looked up for
WEBHOOK_CONNECTIONS_IDLE_MAX = 100
WEBHOOK_CONNECTIONS_IDLE_PER_ENDPOINT = 20
WEBHOOK_CONNECTION_IDLE_MAX_S = 4.0
WEBHOOK_CONNECTION_AGE_MAX_S = 60.0
TELL_AT_ONCE = 50  # events, in the transaction that records them; of more, jobs of so many tell
WEBHOOK_ENDPOINTS_PER_CLIENT = 20
WEBHOOK_HEADERS_MAX = 10  # of an endpoint's own; each with so long a name and value at most
WEBHOOK_HEADER_NAME_MAX_CHARS = 64
WEBHOOK_HEADER_VALUE_MAX_CHARS = 1000
WEBHOOK_SECRET_OVERLAP = timedelta(hours=24)  # for which an old secret signs beside a new one
WEBHOOK_SECRETS_MAX = 5  # of an endpoint that sign at a time
WEBHOOK_KEYS_MAX_AGE_S = 300  # for which a receiver may keep the public ones
WEBHOOK_TOLERANCE_S = 300  # that the clocks of both sides may differ, says Standard Webhooks
# of `manage.py webhooks listen`
LISTENER_PLACES = 16  # calls that it hears at a time
LISTENER_READ_LIMIT_S = 10.0  # for each read of a call
LISTENER_HANG_MAX_S = 60.0  # which --delay and --hang last at most
LISTENER_REMEMBERS = 1000  # ids, to tell a repeat
LISTENER_SHOWN_CHARS = 4000  # of a body
CHAT_TEXT_MAX_CHARS = 4000  # which chats show as one message
WEBHOOK_REPLAY_MAX = 10_000  # deliveries that one call sends again
# for which one that was sent again is not sent once more
WEBHOOK_REPLAY_REST = timedelta(minutes=5)
DELIVERY_ANSWER_MAX_CHARS = 500
DELIVERY_ATTEMPTS_SHOWN = 20  # the newest ones; sent again, a delivery has all its tries again
# a mailbox that the server does not know is asked for again after so long: less than until it is
# overdue, and long enough for a server that had lost sight of its users
MAILBOX_ASKED_AGAIN = timedelta(minutes=20)
MAIL_EVENTS_MAX = 2000  # reports of a provider in one call
# for so long after a person was erased, an address of theirs that is on the list is not mailed
SUPPRESSION_ERASED_KEEP = timedelta(days=730)
DELIVERY_MAX_TRIES = 14  # with the back-off below, tries go on for about a day
DELIVERY_MAX_AGE = timedelta(days=2)
# once it has ended; or as long as jobs are remembered (JOBS_KEEP_DAYS), if that is longer
DELIVERY_KEEP = timedelta(days=90)
ENDPOINT_FAILURES_MAX = 5  # in a row; then an endpoint is left alone
ENDPOINT_REST_S = 5.0  # for so long, twice as long after each probe that fails
ENDPOINT_REST_CAP_S = 300.0
ENDPOINT_PATIENCE = timedelta(days=5)  # one that does nothing but fail for so long is disabled
ENDPOINT_WARNED_AT = (50, 75)  # per cent of it that are over: its owner is told, and when it is
RETRY_AFTER_MAX_S = 3600.0  # that an endpoint's 429 or 503 may ask for
# once it answers again, between one batch (BATCH_ROWS) of its line and the next
ENDPOINT_CALL_UP_PACE_S = 1.0
# tried and not arrived for so long: somebody is told, and of what was given up for some days
DELIVERY_OVERDUE = timedelta(minutes=30)
DELIVERY_TOLD_FOR = timedelta(days=4)  # a long weekend
TROUBLES_MAX = 1000  # targets that are told of; TROUBLES_SHOWN of them in one line or mail
TROUBLES_SHOWN = 20
ALERT_REST = timedelta(hours=1)  # between two ERRORs about one target in the log
ALERT_MAIL_REST = timedelta(days=1)  # ... and two digests for the staff
DIGEST_SHOWN = 10  # of each kind that a digest for the staff names; it counts up to so many
DIGEST_COUNTED_MAX = 200
# behind an older one of its subject a delivery is looked at again so long after that is due, for
# each event between them, and after an hour at the latest; as a rule it is brought when that ends
DELIVERY_HELD_BACK_S = 60.0
DELIVERY_HELD_BACK_MAX_S = 3600.0
DELIVERY_SECOND_TRY_S = 0.1  # what fails once mostly fails for a moment
DELIVERY_BACKOFF_S = 5
DELIVERY_BACKOFF_CAP_S = 4 * 3600

# --- orders and payments --------------------------------------------------------------------------
BATCH_ROWS = 200  # that a task of the schedule touches at a time; what is left, the next one finds
PAYMENT_TIMEOUT_S = 8.0
PAYMENT_MAX_RETRIES = 60
PAYMENT_BACKOFF_CAP_S = 600
# longer than a pause between tries; then somebody asks again
PAYMENT_RECONCILE_AFTER = timedelta(minutes=30)
# a charge of a cancelled order that the provider does not know by then is none
PAYMENT_MOOT_AFTER = timedelta(hours=1)
# longer than a transaction (POSTGRES_LIMITS): older changes of orders are all committed
CHANGES_SETTLE = timedelta(minutes=2)
ERASE_ORDERS = 50  # of a person that one transaction erases
RETURNS_PER_ORDER = 100  # announced, received and cancelled ones
REMARKS_PER_ORDER = 200  # of the staff
# goods are set aside for so long for money that is brought or sent to the shop
RESERVATION_KEEP_OF = {"manual": timedelta(days=7), "bank_transfer": timedelta(days=7)}
# a bank may be at a payment for so long; until it has decided nobody says that it was not paid
PROCESSING_KEEP = timedelta(days=14)
VOUCHER_GRACE = timedelta(hours=1)  # money that was paid at the last moment is told of by then
SANDBOX_SLOW_S = 5.0
STRIPE_SIGNATURE_MAX_AGE_S = 300
STRIPE_CLOCK_SKEW_S = 300  # a payment may be this much older for Stripe's clock than for Postgres'
STRIPE_FIND_MAX_PAGES = 40  # of 100 payments; more do not fit into a task's time limit

# --- reports (orders/reports/) --------------------------------------------------------------------
REPORT_TOP_SKUS = 20
# longer than a transaction (POSTGRES_LIMITS) and than clocks differ
REPORT_SETTLES = timedelta(minutes=2)
REPORT_PART_EVENTS = 20_000  # events that one part of a computation reads
# today is computed while the client waits as long as it has no more events
REPORT_AT_ONCE_EVENTS = 20_000
REPORT_FRESH = timedelta(minutes=5)  # else it is computed by jobs, this often at most
REPORT_RETRY_AFTER_S = 2
REPORT_PATIENCE = timedelta(hours=1)  # a computation that takes longer is given up
REPORT_CATCH_UP_DAYS = 31

# --- bulk imports (orders/imports/) ---------------------------------------------------------------
IMPORT_MAX_ROWS = 100_000
IMPORT_MAX_LINES = 200_000  # empty ones and those within a quoted cell included
IMPORTS_RUNNING_PER_CLIENT = 5
IMPORT_PLACES = 2  # files that a web process reads at a time
IMPORT_RETRY_AFTER_S = 5
IMPORT_ROW_MAX_BYTES = 128 * 1024  # what Python's csv takes as one field
# that quotes which are never closed may have us read again
IMPORT_AGAIN_MAX_BYTES = IMPORT_MAX_BYTES
IMPORT_STAGE_BATCH = 5000  # rows of one COPY
IMPORT_CHUNK_ROWS = 200
IMPORT_PORTION_ROWS = 20  # rows of one look at the time
IMPORT_TURN_S = 1.0  # of one transaction of a chunk; then others may go before it
IMPORT_PACE_S = 1.0  # between looks whether it is a chunk's turn
IMPORT_BACKLOG_MAX = 1000  # due jobs in the bulk queue above which no chunk begins
IMPORT_FAULTS_PER_ORDER = 10
IMPORT_VALUE_MAX_CHARS = 200  # of each value that is kept of what is said of a row
IMPORT_KEEP = timedelta(days=30)
IMPORT_COUNTED_ORDERS = 100  # of an import; what became of more is counted by jobs, and kept
# changes of its client's orders that are looked at, before it is counted anew
IMPORT_CHANGES_LOOKED_AT = 100
IMPORT_TRIAL_BATCH = 500  # orders of a dry run that are compared with the book at a time
IMPORT_TRIAL_FAULTS_MAX = 10_000  # that it tells; the others it counts

STOCK_FILE_MAX_ROWS = 2000  # which are locked together

# --- staff pages (ops/) ---------------------------------------------------------------------------
ENVIRONMENT_COLORS = ("grey", "green", "yellow", "red")  # as config/static/kaiten.css has them
OPS_TERM_MAX = 200  # letters of what is searched for
OPS_ROWS_MAX = 50  # orders of a page
OPS_LOOKED_AT_MAX = 800  # newest orders among which a filter looks at a time, and that it adds up
OPS_REHEARSAL_LOCK_MS = 500  # for which a page that asks waits for an order that is locked
OPS_JOBS_LOOKED_AT = 500  # of a page of jobs, for those that are meant
OPS_COUNTED_MAX = 10_000  # jobs that a person is told the number of, before all of them are meant
OPS_QUEUE_COUNTED = 100  # jobs that wait in a queue, on the page of queues
OPS_BATCH_PORTION = 200  # jobs that one job of a batch meets
OPS_LOOKED_AT = 2000  # deliveries in a row, where no index has what is looked for
OPS_LOOKED_AT_APART = 200  # ... that lie apart from each other
OPS_LOOKED_AT_WITH_EVENTS = 150  # ... with the event of each
OPS_EVENTS_LOOKED_AT = 80  # of one kind or client, of which the deliveries are looked for
OPS_CLIENTS_LOOKED_AT = 50  # the newest ones, for events of one kind
OPS_ORDERS_LOOKED_AT = 10  # the newest ones of a mail address, for what was sent there
OPS_ENDPOINTS_MAX = 10  # of a page, and as many in trouble, each with what waits for it
OPS_UNDELIVERED_MAX = 200  # counted of one endpoint; beyond it says "200+"
OPS_UNDELIVERED_OF_ALL = 200  # ... of those in trouble together, in equal shares
OPS_UNDELIVERED_OF_WELL = 10  # ... of each that is well
# deliveries that are looked at to count what would be sent again; beyond it says "500 or more"
OPS_REPLAY_COUNTED_MAX = 500
OPS_PAYLOAD_SHOWN_CHARS = 20_000  # of what an event tells
OPS_REPORT_EVENTS = 100  # of today that a page reads itself; of more, jobs do
OPS_TRIAL_FAULTS = 200  # of a dry run that are shown
OPS_POLL_S = 3  # of a page that shows work, by a browser
OPS_PEOPLE_MAX = 200  # of their list
OPS_CLIENTS_MAX = 200  # of a list to choose from
OPS_PHONE_DIGITS_MIN = 6  # below that no number is looked for among phones

# --- exports (orders/exports/) --------------------------------------------------------------------
EXPORT_MAX_ORDERS = 100_000  # of one export; the next one goes on from there
EXPORT_PART_ORDERS = 5_000  # of one file, which a web process has in memory while it is sent
EXPORT_PART_BYTES = 4 * 1024 * 1024  # which a file may have, and a page of orders more
EXPORT_PAGE_ORDERS = 50  # that are read at a time
EXPORTS_RUNNING_PER_CLIENT = 2
EXPORT_KEEP = timedelta(days=7)

# --- metrics and Sentry ---------------------------------------------------------------------------
METRICS_ROWS_MAX = 10_000  # that one statement looks at
METRICS_STATEMENT_TIMEOUT = "2s"
SENTRY_FLUSH_LIMIT_S = 2
