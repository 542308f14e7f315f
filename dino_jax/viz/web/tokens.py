"""Colours of every page, in light and in dark; each keeps its contrast on both backgrounds."""

from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "page": "#ffffff",
    "surface": "#f6f7f8",
    "text": "#1b1f24",
    "muted": "#565e67",
    "rule": "#cfd4d9",
    "link": "#0b5fad",
    "good": "#0a6b4b",
    "bad": "#a8300a",
    "line-0": "#0072b2",
    "line-1": "#d55e00",
    "line-2": "#00875f",
    "line-3": "#b0528a",
    "line-4": "#a86f00",
    "line-5": "#1f85bd",
    "line-6": "#1b1f24",
    "line-7": "#7d7200",
}
"""Okabe and Ito's colours, told apart by the colour-blind; the pale ones darker, for white."""
DARK: Mapping[str, str] = {
    "page": "#14171a",
    "surface": "#1d2125",
    "text": "#e7e9eb",
    "muted": "#a5adb5",
    "rule": "#3a4148",
    "link": "#74baff",
    "good": "#4fd0a5",
    "bad": "#ff9466",
    "line-0": "#4aa3df",
    "line-1": "#f07f2e",
    "line-2": "#1fbf92",
    "line-3": "#dd92bd",
    "line-4": "#e69f00",
    "line-5": "#8fd0f7",
    "line-6": "#e7e9eb",
    "line-7": "#f0e442",
}
LINES = sum(name.startswith("line-") for name in LIGHT)
"""How many colours of lines there are; `var(--line-0)` is the first in a style."""


def style() -> str:
    """The colours as CSS variables, which follow the reader's preference and print in light."""
    light, dark = (
        ";".join(f"--{name}:{colour}" for name, colour in theme.items()) for theme in (LIGHT, DARK)
    )
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    )
