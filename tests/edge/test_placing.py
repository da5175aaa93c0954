import pytest

from engine.client import RequestRefused

LIMIT = ("okx", "BTC/USDT", "buy", "0.01", "61000.5")


def test_the_same_command_id_makes_no_second_order(client, core):
    first = client.place(*LIMIT, command_id="once")
    core.fill(first["order_id"], "0.01")
    again = client.place(*LIMIT, command_id="once")
    assert again["order_id"] == first["order_id"]
    assert again["status"] == "FILLED"
    assert len(core.orders) == 1


def test_the_same_command_off_the_venues_grid_is_still_the_same(client, core):
    asked = ("okx", "BTC/USDT", "buy", "0.010", "61000.57")
    first = client.place(*asked, command_id="once")
    assert first["price"] == "61000.5"
    assert client.place(*asked, command_id="once")["order_id"] == first["order_id"]


@pytest.mark.parametrize(
    "change",
    [
        {"side": "sell"},
        {"quantity": "0.02"},
        {"price": "61000.6"},
        {"symbol": "ETH/USDT"},
        {"venue": "binance"},
        {"venue": "best"},
        {"price": None},
        {"time_in_force": "IOC"},
        {"post_only": True},
    ],
)
def test_a_command_id_of_another_order_is_refused(client, core, change):
    order = dict(zip(("venue", "symbol", "side", "quantity", "price"), LIMIT, strict=True))
    client.place(**order, command_id="once")
    with pytest.raises(RequestRefused, match="belongs to order") as failed:
        client.place(**order | change, command_id="once")
    assert (failed.value.exit_code, failed.value.code) == (2, "COMMAND_ID_REUSED")
    assert len(core.orders) == 1


def test_a_plan_that_risk_denies_is_shown_and_denied(client, core):
    core.behaviour = "deny"
    with pytest.raises(RequestRefused, match="okx: above the limit") as failed:
        client.place(*LIMIT, dry_run=True)
    assert (failed.value.exit_code, failed.value.result["approved"]) == (6, False)
    assert not core.orders


def test_of_an_order_that_may_not_rest_the_end_is_told(client, core):
    core.behaviour = "expire"
    for more in ({"time_in_force": "FOK"}, {"time_in_force": "IOC"}, {"post_only": True}):
        assert client.place(*LIMIT, **more)["status"] == "EXPIRED"
    assert client.place("okx", "BTC/USDT", "buy", "0.01")["status"] == "EXPIRED"
    assert client.place(*LIMIT)["status"] == "NEW"  # this one rests: acknowledged is enough
    core.behaviour = "acknowledge"
    assert client.place(*LIMIT, time_in_force="IOC")["status"] == "NEW"  # whatever is known then
