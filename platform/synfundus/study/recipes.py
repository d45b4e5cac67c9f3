"""Recipes: named sets of settings that ship with the package."""

import difflib
from importlib import resources
from typing import Final

from synfundus.errors import WrongInputError

FOLDER: Final = resources.files("synfundus") / "recipes"


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(item.name.removesuffix(".yaml") for item in FOLDER.iterdir() if item.name.endswith(".yaml"))


def read_recipe(name: str) -> str:
    """Return the YAML text of a recipe.

    Raises:
        WrongInputError: there is no such recipe; the message gives the nearest name.
    """
    names = recipe_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known recipes: {', '.join(names)}"
        raise WrongInputError(f"recipe: no recipe {name!r}; {hint}")
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
