"""The ledger's protocol as an exhaustive model: every state that crashes, ghosts and lost answers
can lead to.
"""
