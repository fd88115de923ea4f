"""The stand-in for ComfyUI's web server."""

from studio.comfy_server import Anything, QuietServer


def test_listener_hears_events_and_not_the_pictures_that_packs_send():
    server, heard = QuietServer(), []
    server.listener = lambda *event: heard.append(event)
    server.send_sync("executing", {"node": "1"})
    server.send_sync(Anything(), b"a picture", "studio")
    server.send_sync("b_preview", (b"a picture", {}))
    assert heard == [("executing", {"node": "1"})]


def test_routes_of_packs_are_taken_and_forgotten():
    server = QuietServer()

    @server.routes.get("/packs")
    async def answer(request):
        raise AssertionError

    assert answer.__name__ == "answer"
    assert server.app.router.add_static("/packs", "web")
