"""The options of Locust runs, as the command line and Locust's web page give them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import pytest

from loadtests.swarm.options import Misused, add_options, settings


def parser() -> ArgumentParser:
    made = ArgumentParser()
    add_options(made)
    return made


def given(**options: object) -> Namespace:
    return Namespace(**(vars(parser().parse_args([])) | options))


def test_without_options_twenty_nodes_are_a_herd() -> None:
    found = settings(given())
    assert (found.shape, found.nodes, found.images) == ("thundering-herd", 20, ("swarm/herd",))
    assert (found.think_s, found.verify, found.node_cache) == ((1, 5), "sha256", "none")


def test_images_stand_below_the_prefix_that_is_given() -> None:
    assert settings(given(images="a, b,", prefix="/x/y/")).images == ("x/y/a", "x/y/b")
    assert settings(given(prefix="")).images == ("herd",)


def test_every_option_says_what_it_is_and_only_the_password_is_hidden() -> None:
    names = vars(parser().parse_args([]))
    actions = [action for action in parser()._actions if action.dest in names]
    assert all(action.help for action in actions)
    away = [action.dest for action in actions if not vars(action)["include_in_web_ui"]]
    assert away == ["drop_command", "results"]  # what the page must not reach
    hidden = [action.dest for action in actions if vars(action)["is_secret"]]
    assert hidden == ["registry_password"]


def test_the_options_are_shown_though_locusts_help_does_not_know_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--swarm-help"])
    assert ended.value.code == 0
    assert "--shape {thundering-herd,rolling,steady,cold,mixed}" in capsys.readouterr().out


def test_every_value_has_the_type_that_the_web_page_keeps() -> None:
    """It makes what a form says into the type that the option had."""
    defaults = vars(parser().parse_args([])).values()
    assert {type(value) for value in defaults} == {str, int, float}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": " , "}, "--images names no image"),
        ({"duration": float("nan")}, "--duration must be more than nothing"),
        ({"think_time": "soon"}, "--think-time is seconds, as 2 or 1-5, and not 'soon'"),
        ({"think_time": "5-1"}, "--think-time goes from less to more"),
        ({"shape": "round"}, "--shape is one of thundering-herd, rolling"),
        ({"verify": "md5"}, "--verify is one of sha256, xxh3"),
        ({"nodes": 0}, "--nodes must be more than nothing"),
        ({"push_weight": -1.0}, "weights are not negative"),
        ({"shape": "rolling", "nodes": 3}, "3 nodes do not make 4 waves"),
        ({"shape": "cold"}, "--shape cold needs --drop-command"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(options: dict[str, object], said: str) -> None:
    with pytest.raises(Misused) as raised:
        settings(given(**options))
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)
