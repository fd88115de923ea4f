"""The welcome above the form of a first visit: what this machine runs, and what to fetch.

The script shows and fills it, and remembers in the browser that it was closed.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from studio.page_answers import answer
from studio.preflight_machine import Line, first_look, lines_for_owner, lines_for_strangers
from studio.studio import Studio

LAST = Line("Your jobs", "go on when you close this page.")

_TO_MODELS = """<button type="button" class="plain" data-place="models-details">Models</button>"""

AGAIN = """<button id="welcome-again" type="button" class="plain">Show the welcome again</button>"""
"""In the help."""


def welcome(strangers: bool) -> str:
    """HTML, hidden until the script knows that nobody has closed it. `strangers` fetch nothing."""
    return f"""<section id="welcome" aria-labelledby="welcome-title" hidden>
<h2 id="welcome-title" tabindex="-1">Welcome to AIO Studio</h2>
<dl id="welcome-lines" class="facts{" few" if strangers else ""}" aria-live="polite"></dl>
<p class="line"><button id="welcome-close" type="button" class="plain">Start</button>
{"" if strangers else _TO_MODELS}</p>
</section>"""


class WelcomeRoutes:
    """The route of one studio; `engine` and `strangers` as in `ModelsRoutes`."""

    def __init__(self, studio: Studio, engine: str = "", strangers: bool = False) -> None:
        self._studio, self._engine, self._strangers = studio, engine, strangers

    def routes(self) -> list[Route]:
        return [Route("/welcome", self.show)]

    def show(self, request: Request) -> Response:
        """At most five lines; two for strangers, and nothing of the machine in them."""
        machine = None if self._strangers else self._studio.machine.machine
        look = first_look(self._studio.home, self._engine, machine)
        lines = lines_for_strangers(look) if self._strangers else lines_for_owner(look)
        return answer({"lines": [{"about": one.about, "says": one.says} for one in (*lines, LAST)]})
