"""Example of a chat platform: a line protocol over a loopback socket.

    -> hello ada
    -> 1 how many orders are there?
    <- 1 taken
    <- 1 says 1 There are 12.
    <- 1 done

The client numbers its messages. `taken` means that the message is stored: what was not taken is sent again
under the same number. Lines of an answer are numbered, too: the client drops one that a crash repeats.
`later` means that the bot takes nothing now, `error` that it does not understand.
"""

from tests.example_platform.adapter import ADAPTER

__all__ = ["ADAPTER"]
