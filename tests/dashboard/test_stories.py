import asyncio
import json

import pytest

from dashboard.logtail import LogTail
from dashboard.stories import Stories

JOURNAL = [
    {"seq": 1, "kind": "OrderApproved", "order": {"order_id": "a"}},
    {"seq": 2, "kind": "OrderApproved", "order": {"order_id": "b"}},
    {"seq": 3, "kind": "OrderAcknowledged", "order_id": "a"},
    *({"seq": seq, "kind": "VenueReconciled", "venue": "okx"} for seq in range(4, 2500)),
    {"seq": 2500, "kind": "OrderFilled", "order_id": "a"},
    {"seq": 2501, "kind": "OrderCanceled", "order_id": "b"},
]


def whole(stories, order_id):
    asked = []

    async def read(after_seq, count):
        asked.append((after_seq, count))
        return [row for row in JOURNAL if after_seq < row["seq"] <= after_seq + count]

    events, complete = asyncio.run(stories.whole(order_id, JOURNAL[-1]["seq"], read))
    return [row["seq"] for row in events], complete, asked


@pytest.mark.parametrize("followed", [range(2500, 2502), range(2500, 2501), range(1, 4), ()])
def test_a_story_is_whole_whatever_was_followed_of_it(followed):
    stories = Stories()
    for row in JOURNAL:
        if row["seq"] in followed:
            stories.take(row["seq"], row, 5)
    assert whole(stories, "a")[:2] == ([1, 3, 2500], True)
    assert whole(stories, "b")[:2] == ([2, 2501], True)
    assert whole(stories, "unheard")[:2] == ([], False)


def test_what_is_known_is_not_read_again():
    stories = Stories()
    for row in JOURNAL[-2:]:
        stories.take(row["seq"], row, None)
    assert sum(count for _, count in whole(stories, "a")[2]) == 2499
    stories.take(2502, {"kind": "OrderApproved", "order": {"order_id": "c"}}, None)
    assert whole(stories, "c") == ([2502], True, [])


def test_the_tail_of_a_log_follows_its_file_over_a_rotation_and_an_unfinished_line(tmp_path):
    path = tmp_path / "xcore.jsonl"
    tail = LogTail(path)
    assert not tail.look()
    path.write_text('{"event": "one", "trace": "long"}\nnot json\n{"event": "tw')
    assert tail.look()
    with path.open("a") as file:
        file.write('o"}\n')
    assert tail.look()
    path.rename(tmp_path / "old.jsonl")
    path.write_text(json.dumps({"event": "three"}) + "\n")
    assert tail.look()
    assert not tail.look()
    assert [line["event"] for line in tail.after(0)] == ["one", "two", "three"]
    assert [line["event"] for line in tail.after(2)] == ["three"]
    assert "trace" not in tail.lines[0]
