"""Templates of the pages and cards that show measures."""

import jinja2


def read_template(package: str, name: str, *, autoescape: bool = True) -> jinja2.Template:
    """Return a template of the folder `templates` of a package. A name that is not given to it is an error.

    Args:
        autoescape: whether values are escaped, which HTML needs and Markdown does not.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not autoescape,
        autoescape=autoescape,  # noqa: S701  false for Markdown alone
    )
    return environment.get_template(name)
