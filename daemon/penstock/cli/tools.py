"""The tools that can be pointed at penstock, and what each of them wants to be told: the table of ``penstock ide``.

In a template ``$base`` is penstock's address and ``$v1`` the same with ``/v1``; ``$model`` is the model to begin with
in double quotes, which JSON, YAML, TOML and Lua read alike, and ``$bare`` the same without them; ``$key`` is the API
key, and ``$models`` the entries of all models, made by ``each``.
"""

from __future__ import annotations

import msgspec


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool."""

    name: str  #: what people call it
    place: str  #: the file for the template, or where in the tool its settings are
    language: str  #: of the template; "text" for what is entered by hand
    template: str
    each: str = ""
    each_autocomplete: str = ""  #: for models of class autocomplete, where the tool treats them differently
    joint: str = "\n"
    then: str
    #: worth knowing
    notes: tuple[str, ...] = ()


def _by_hand(**settings: str) -> str:
    """Names of settings and what to enter, below one another."""
    names = {name.replace("_", " "): value for name, value in settings.items()}
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {value}" for name, value in names.items())


_OPENAI_COMPATIBLE = _by_hand(API_Provider="OpenAI Compatible", Base_URL="$v1", API_Key="$key", Model="$bare")

_OPENCODE = """{
  "$$schema": "https://opencode.ai/config.json",
  "model": "penstock/$bare",
  "provider": {
    "penstock": {
      "npm": "@ai-sdk/openai-compatible",
      "name": "penstock",
      "options": { "baseURL": "$v1", "apiKey": "$key" },
      "models": {
$models
      }
    }
  }
}"""

TOOLS = {
    "continue": Tool(
        name="Continue",
        place="~/.continue/config.yaml",
        language="yaml",
        template="name: penstock\nversion: 0.0.1\nschema: v1\nmodels:\n$models",
        each="""  - name: $model
    provider: openai
    model: $model
    apiBase: $v1
    apiKey: $key
    roles: [chat, edit, apply]""",
        each_autocomplete="""  - name: $model
    provider: ollama
    model: $model
    apiBase: $base
    apiKey: $key
    roles: [autocomplete]""",
        then="Choose the model in the list at the chat's input.",
        notes=('A model whose route has class = "autocomplete" is entered for completion while you type.',),
    ),
    "kilo": Tool(
        name="Kilo Code",
        place="in the editor: Kilo Code's settings",
        language="text",
        template=_OPENAI_COMPATIBLE,
        then="Save, and ask something.",
        notes=("The command line's kilo.json has the form of opencode's file: penstock ide opencode.",),
    ),
    "cline": Tool(
        name="Cline",
        place="in the editor: the gear of Cline's panel",
        language="text",
        template=_OPENAI_COMPATIBLE,
        then="Save, and ask something.",
        notes=(
            "Or choose Ollama as provider, with $base as its base URL, and a model from the list.",
            "The command line: cline auth -p openai-compatible -k $key -m $bare -b $v1",
        ),
    ),
    "roo": Tool(
        name="Roo Code",
        place="in the editor: the gear of Roo Code's panel",
        language="text",
        template=_OPENAI_COMPATIBLE,
        then="Save, and ask something.",
        notes=(
            "Cancel does not close the request: penstock cannot know of it, and its budgets end the stream. "
            "Short ones in the route's timeouts help.",
        ),
    ),
    "copilot": Tool(
        name="GitHub Copilot Chat",
        place='in VS Code 1.122 or later: the command "Chat: Open Language Models (JSON)"',
        language="json",
        template='[\n  {\n    "name": "penstock",\n    "vendor": "customendpoint",\n    "apiKey": "$key",\n'
        '    "apiType": "chat-completions",\n    "models": [\n$models\n    ]\n  }\n]',
        each="""      {
        "id": $model,
        "name": $model,
        "url": "$v1/chat/completions",
        "toolCalling": true,
        "vision": false,
        "maxInputTokens": 28000,
        "maxOutputTokens": 4000
      }""",
        joint=",\n",
        then="Choose the model in the chat's model picker.",
        notes=(
            "The two numbers together are the context of the model: put in what it was loaded with.",
            "Without [[keys]] the built-in provider Ollama works too, with $base as its endpoint: model picker, "
            "Manage Models.",
        ),
    ),
    "zed": Tool(
        name="Zed",
        place="~/.config/zed/settings.json",
        language="json",
        template='{\n  "language_models": {\n    "ollama": { "api_url": "$base" }\n  }\n}',
        then="Zed lists the models by itself: choose one under Ollama in the model picker.",
        notes=("A key, where one is needed, is entered in Zed: Configure, LLM Providers, Ollama.",),
    ),
    "jetbrains": Tool(
        name="JetBrains AI Assistant",
        place="in the IDE: Settings, Tools, AI Assistant, Providers & API keys, Third-party AI providers",
        language="text",
        template=_by_hand(Provider="OpenAI-compatible", URL="$v1", API_Key="$key"),
        then="Press Test Connection, then choose the model ($bare) in the chat.",
        notes=("Or choose Ollama as provider, with $base as its host URL.",),
    ),
    "codecompanion": Tool(
        name="CodeCompanion (Neovim)",
        place="in Neovim's configuration",
        language="lua",
        template="""require("codecompanion").setup({
  adapters = {
    http = {
      penstock = function()
        return require("codecompanion.adapters").extend("openai_compatible", {
          env = { url = "$base", api_key = "$key" },
          schema = { model = { default = $model } },
        })
      end,
    },
  },
  interactions = {
    chat = { adapter = "penstock" },
    inline = { adapter = "penstock" },
  },
})""",
        then="Open a chat: :CodeCompanionChat",
        notes=("api_key is the name of an environment variable, or else the key itself.",),
    ),
    "aider": Tool(
        name="aider",
        place=".aider.conf.yml, in the repository or in your home",
        language="yaml",
        template='model: "openai/$bare"\nopenai-api-base: $v1\nopenai-api-key: $key',
        then="Run aider in the repository; --no-show-model-warnings spares its doubts about an unknown name.",
        notes=("Whatever error it gets, aider repeats the request.",),
    ),
    "opencode": Tool(
        name="opencode",
        place="opencode.json in the project, or ~/.config/opencode/opencode.json",
        language="json",
        template=_OPENCODE,
        each='        $model: { "name": $model }',
        joint=",\n",
        then="Start opencode, and choose the model with /models.",
    ),
    "claude-code": Tool(
        name="Claude Code",
        place="~/.claude/settings.json",
        language="json",
        template="""{
  "env": {
    "ANTHROPIC_BASE_URL": "$base",
    "ANTHROPIC_AUTH_TOKEN": "$key",
    "ANTHROPIC_MODEL": $model,
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": $model
  }
}""",
        then="Start claude; /status shows the address.",
        notes=(
            "ANTHROPIC_API_KEY must not be set beside it.",
            "Its first request has some 76 kB: the model needs the context for that.",
        ),
    ),
    "codex": Tool(
        name="Codex CLI",
        place="~/.codex/config.toml",
        language="toml",
        template="""model = $model
model_provider = "penstock"

[model_providers.penstock]
name = "penstock"
base_url = "$v1"
wire_api = "responses"
env_key = "PENSTOCK_KEY\"""",
        then="Set PENSTOCK_KEY to $key in the shell, and start codex.",
    ),
}
