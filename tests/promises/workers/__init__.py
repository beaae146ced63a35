"""Workers that are killed, frozen, deaf or busy: their jobs are done all the same."""
