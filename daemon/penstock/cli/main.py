"""The ``penstock`` command: the frame around the verbs, and the manual that ``--help`` prints."""

from __future__ import annotations

import importlib

import click
from click.shell_completion import CompletionItem

from penstock import __version__

#: Verb -> its line in the help.  Each stands in ``penstock.cli.VERB`` as ``command``.
VERBS = {
    "serve": "Run the proxy until it is told to stop.",
    "check": "Say what is wrong with a configuration file.",
    "doctor": "Look at everything, and say what to do.",
    "status": "Show the streams, slots and queues of a running daemon.",
    "reload": "Let a running daemon read its configuration anew.",
    "ide": "Show how a tool is pointed at penstock.",
    "schema": "Print the JSON Schema of the configuration file.",
    "demo": "Show a stream and its teardown, without any backend.",
    "key": "Make keys for clients.",
    "simulate": "Run a stand-in backend that speaks every dialect.",
    "install": "Run as a service of systemd.",
    "uninstall": "Remove that service.",
}

#: What a manual page says after the options.
MANUAL = {
    "Files": [
        ("~/.config/penstock/penstock.toml", "the user's configuration"),
        ("/etc/penstock/penstock.toml", "the system's, where the user has none"),
        ("conf.d/*.toml", "beside either: further parts of it, in the order of their names"),
        (
            "neither",
            "listen on 127.0.0.1:11435 and use the local servers that answer on their usual ports: "
            "Ollama, llama.cpp, LM Studio, KoboldCpp, vLLM",
        ),
    ],
    "Environment": [
        ("PENSTOCK_CONFIG", "the configuration file, before those above"),
        ("PENSTOCK__SECTION__KEY", "sets one key of the configuration, over what the files say"),
        ("PENSTOCK_KEY", "the key that status, reload, doctor and ide show to a running daemon"),
        ("XDG_CONFIG_HOME", "stands for ~/.config"),
        ("CREDENTIALS_DIRECTORY", 'where "credential:NAME" is looked up; systemd sets it'),
    ],
    "Exit status": [
        ("0", "all went well"),
        ("1", "it failed; the last line says why"),
        ("2", "the command line is wrong"),
        ("3", "of reload: the configuration needs a restart"),
        ("78", "the configuration is wrong; every fault is listed with its place"),
    ],
    "Examples": [
        ("penstock serve", "with the configuration that is found"),
        ("penstock serve --config ./penstock.toml", "with this one"),
        ("penstock check ./penstock.toml", "every fault of it, without starting anything"),
        ("penstock doctor", "when something does not work"),
        ("penstock ide continue", "what goes into that editor's settings"),
    ],
}


class VerbGroup(click.Group):
    """Imports a verb when it is called, so that ``--help`` and ``--version`` stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"penstock.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click does, without importing a verb to learn its line."""
        verbs = [CompletionItem(verb, help=line) for verb, line in VERBS.items() if verb.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, rows in MANUAL.items():
            with formatter.section(title):
                formatter.write_dl(rows, col_max=40)


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="penstock %(version)s")
def main() -> None:
    """A proxy for language-model streams, between the editors of a workstation and the servers that run models.

    Clients speak OpenAI's, Ollama's, Anthropic's or KoboldCpp's dialect to it, and so do backends.  Each stream is
    owned from its first byte to its last: when the client leaves, the backend is stopped at once; when the backend
    falls silent, the client is told.
    """
