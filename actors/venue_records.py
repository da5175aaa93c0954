"""The venue's own records of our account, passed on between a person who asks and the adapter."""

from engine.actor import Actor
from engine.messages.commands import Query, Reply
from engine.messages.port import AskVenue, VenueTold


class VenueRecords(Actor):
    """What an ExchangeActor does with questions that only its venue can answer. It keeps nothing of them."""

    adapter: str

    def on_query(self, query: Query) -> None:
        """Pass a person's question on to the venue: topic `venue_records`, argument `kind`."""
        arguments = dict(query.arguments)
        kind = arguments.pop("kind", "")
        ask = AskVenue(query.reply_to, query.correlation_id, kind, arguments)
        self.send(self.adapter, ask)

    def on_venue_told(self, told: VenueTold) -> None:
        """Pass the venue's answer on to whoever asked."""
        reply = Reply(told.correlation_id, told.ok, told.code, told.text, told.body)
        self.send(told.reply_to, reply)
