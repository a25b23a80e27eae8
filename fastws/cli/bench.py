"""``fastws bench``: the options of the load generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from fastws.cli.bench_plans import SCENARIOS, make_keyed, make_plan, make_storm, urls_and_scenario
from fastws.cli.errors import CannotStart
from fastws.cli.options import HEADER, Command, option

if TYPE_CHECKING:
    from fastws.loadgen.ramp import Growth
    from fastws.loadgen.thresholds import Threshold

    ParamType = click.ParamType[Any]
else:  # generic only since click 8.4
    ParamType = click.ParamType

__all__ = ["bench"]

#: Default of --duration: for a single run, and for each step of --until.
RUN_SECONDS, STEP_SECONDS = 10.0, 3.0
SIZES = {"": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 1024**2, "mb": 1024**2, "mib": 1024**2}


class Parsed(ParamType):
    """An option value that a function parses. The text of its ValueError is the message for the user."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        except ImportError as error:
            raise CannotStart(missing_module(error)) from None


def parse_size(text: str) -> int:
    digits = text.rstrip("bBiIkKmM ")
    scale = SIZES.get(text[len(digits) :].strip().lower())
    if not digits.isdecimal() or scale is None:
        raise ValueError(f"{text!r} is not a size; write 20, 16k or 1M")
    return int(digits) * scale


def parse_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def parse_seconds(text: str) -> float:
    from fastws.loadgen.thresholds import parse_duration

    return parse_duration(text)


def parse_threshold(text: str) -> Threshold:
    from fastws.loadgen.thresholds import parse_threshold

    return parse_threshold(text)


def parse_growth(text: str) -> Growth:
    from fastws.loadgen.ramp import parse_growth

    return parse_growth(text)


def parse_separator(text: str) -> str:
    try:
        return text.encode("latin-1").decode("unicode_escape")
    except UnicodeError:
        raise ValueError(f"{text!r} is neither one character nor an escape such as \\n") from None


TIME = Parsed("TIME", parse_seconds)
THRESHOLD = Parsed("THRESHOLD", parse_threshold)
COUNT = Parsed("N", parse_count)


@click.command(
    cls=Command,
    epilog="Exit codes: 0 measured, 1 clients failed or a threshold was missed, 2 wrong usage, "
    "3 cannot start.",
)
@click.argument("words", nargs=-1, required=True, metavar=f"URL... {{{'|'.join(SCENARIOS)}}}")
@option(
    "--script",
    section="Load",
    metavar="FILE",
    type=click.Path(),
    help="In place of a scenario: a file of steps that each client takes, one JSON object a line.",
)
@option("--clients", section="Load", type=COUNT, default="100", show_default=True, help="Connections in all.")
@option("--publishers", section="Load", type=COUNT, help="fanout: how many of the clients publish.  [1]")
@option("--depth", section="Load", type=COUNT, help="echo: messages outstanding per client.  [1]")
@option("--window", section="Load", type=COUNT, help="fanout: messages outstanding.  [1]")
@option(
    "--rate",
    section="Load",
    type=click.FloatRange(min=0, min_open=True),
    metavar="R",
    help="Messages a second of all clients together. Each is sent when it is due, whatever the server does; "
    "its latency counts from then.",
)
@option(
    "--processes",
    section="Load",
    type=COUNT,
    default="1",
    show_default=True,
    help="Generator processes. Each needs a core.",
)
@option("--duration", section="Load", type=TIME, metavar="TIME", help="Measured time.  [10s; 3s a step]")
@option(
    "--turns",
    section="Load",
    is_flag=True,
    help="Print ready, measure for --duration at each line of the standard input, and report at its end.",
)
@option("--warmup", section="Load", type=TIME, metavar="TIME",
        help="Time before it, which does not count.  [1s; 0 with --script]")  # fmt: skip
@option("--ramp", section="Load", type=TIME, metavar="TIME",
        help="Open the clients evenly over this time.  [0: as fast as they can]")  # fmt: skip
@option(
    "--at-once",
    section="Load",
    type=COUNT,
    default="64",
    show_default=True,
    help="Opening handshakes at the same time.",
)
@option("--size", section="Messages", type=Parsed("BYTES", parse_size), default="64", show_default=True,
        help="Bytes of a message: 20, 16k, 1M.")  # fmt: skip
@option(
    "--text/--binary", section="Messages", default=True, show_default=True, help="The type of the messages."
)
@option(
    "--message",
    section="Messages",
    metavar="TEXT",
    help="Send this text. In a fan-out it needs {stamp}, which becomes the time of the message.",
)
@option(
    "--deflate",
    section="Messages",
    is_flag=True,
    help="Demand permessage-deflate, and compress all messages.",
)
@option(
    "--merged-by",
    section="Messages",
    metavar="CHAR",
    type=Parsed("CHAR", parse_separator),
    help=r"The character between messages that the server merges into one, for example '\n'.",
)
@option(
    "--to-others", section="Messages", is_flag=True, help="The server sends no message back to its sender."
)
@option("--any-reply", section="Messages", is_flag=True, help="Count a message of any size as an answer.")
@option(
    "--speak-once",
    section="Messages",
    is_flag=True,
    help="idle: each client sends one message after it has opened.",
)
@option("--topic", section="Feeds", metavar="NAME", default="bench", show_default=True,
        help="feed, keyed, resume: the topic.")  # fmt: skip
@option("--keys", section="Feeds", type=COUNT, help="keyed: how many keys change in turn.  [500]")
@option("--stalled", section="Feeds", type=COUNT, help="keyed: clients that stop reading.  [0]")
@option("--stall", section="Feeds", type=TIME, metavar="TIME", help="keyed: for so long.  [2s]")
@option("--slow", section="Feeds", type=COUNT, help="keyed: clients that read slowly.  [0]")
@option("--slow-rate", section="Feeds", type=COUNT, metavar="BYTES",
        help="keyed: so much a second.  [20000]")  # fmt: skip
@option("--moved-by", section="Feeds", metavar="TOPIC",
        help="keyed: tell the server by a message to this topic to change the keys itself.")  # fmt: skip
@option("--stayers", section="Feeds", type=COUNT, help="resume: clients that stay and listen.  [100]")
@option("--missed", section="Feeds", type=COUNT, help="resume: messages that were missed.  [20]")
@option(
    "--spread",
    section="Feeds",
    type=TIME,
    help="resume: the time over which the clients begin to come back.  [0: all at once]",
)
@option("--header", section="Handshake", type=HEADER, multiple=True, help="Add a header. Repeatable.")
@option("--origin", section="Handshake", metavar="ORIGIN", help="Send this Origin header.")
@option("--subprotocol", section="Handshake", metavar="NAME", multiple=True, help="Offer it. Repeatable.")
@option("--insecure", section="Handshake", is_flag=True, help="Accept any certificate.")
@option(
    "--connect-timeout",
    section="Handshake",
    type=TIME,
    default="10s",
    show_default=True,
    help="Time for TCP, TLS and the upgrade together.",
)
@option(
    "--pid", section="Results", type=COUNT, help="The process of the server: measure its CPU and memory too."
)
@option(
    "--until",
    section="Results",
    type=THRESHOLD,
    multiple=True,
    metavar="p99=50ms",
    help="Raise the load step by step until the server misses this threshold. Repeatable.",
)
@option(
    "--step",
    section="Results",
    type=Parsed("GROWTH", parse_growth),
    metavar="GROWTH",
    help="With --until, how the load grows: clients+100, clients*2, rate+1000, rate*1.5.  [rate*1.5 with "
    "--rate, else clients*1.5]",
)
@option(
    "--require",
    section="Results",
    type=THRESHOLD,
    multiple=True,
    metavar="p99<50ms",
    help="Exit with 1 where the run misses this threshold. With < (or =): p50 p90 p99 p99.9 max mean cpu rss "
    "errors; with > (or =): reach rate rounds. Repeatable.",
)
@option(
    "--json",
    "json_file",
    section="Results",
    metavar="FILE",
    help="Write the results as JSON; - is the standard output.",
)
@option(
    "--html",
    "html_file",
    section="Results",
    metavar="FILE",
    type=click.Path(),
    help="Write the report as a page.",
)
def bench(words: Sequence[str], **options: Any) -> int:
    """Measure the WebSocket server at URL (ws:// or wss://). Clients take several URLs in turn.

    \b
    echo     each client sends, and waits for its own message to come back
    fanout   some clients publish, and all receive every message
    room     round by round, all clients send one message and receive all
    connect  clients connect and close, --clients of them at the same time
    idle     clients connect and stay
    feed     fanout through a topic of a feed of fastws
    keyed    a keyed topic of a feed changes; some clients may stop reading meanwhile
    resume   clients of a feed come back at once, beside others that stay
    """
    try:
        from fastws.cli import measure
        from fastws.loadgen import LoadgenError, PlanError
        from fastws.loadgen.feed_client import check_feed
    except ImportError as error:
        raise CannotStart(missing_module(error)) from None
    urls, scenario = urls_and_scenario(words, options["script"])
    until = options.pop("until")
    names = ("json_file", "html_file", "step", "require", "turns")
    of_the_report = {name: options.pop(name) for name in names}
    try:
        if scenario in ("keyed", "resume"):
            make = make_keyed if scenario == "keyed" else make_storm
            return measure.measure_feed(make(urls, options), until=until, **of_the_report)
        plan = make_plan(urls, scenario, options, duration=STEP_SECONDS if until else RUN_SECONDS)
        if scenario == "feed" and not (plan.headers or plan.origin or plan.subprotocols):
            for url in urls:
                check_feed(url, options["topic"], insecure=plan.insecure)
        if until:
            return measure.measure_ramp(plan, until=until, **of_the_report)
        return measure.measure_once(plan, **of_the_report)
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    except LoadgenError as error:
        raise measure.Failed(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or 'output'}: {error.strerror or error}") from None


def missing_module(error: ImportError) -> str:
    if error.name == "fastws.loadgen._loadgen":
        return "the load generator's C module is not built: it needs Linux, and a C compiler at installation"
    return f"the package {error.name} is missing: pip install {error.name}"
