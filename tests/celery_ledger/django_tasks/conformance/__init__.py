"""Django's own tests of its tasks, run on the ledger."""
