"""One rewrite rule a file.

A rule is a module with ``OPS`` (the operator types it looks at), ``AFTER`` (names of rules that go first) and
``propose(node, graph)``: an ``Edit``, a ``Decline`` with the reason, or None where it has nothing to say.
"""
