"""Runtime: messages, mailboxes, actors, supervision, journal, control. Knows no venue and no actor."""
