"""The server answers whatever its OpenAPI document allows, as the document says."""

from consumers.server.http.app import make_app
from tests.openapi import fuzz
from tests.server.world import SETTINGS, TOKEN, Server
from tests.tokens import access_of


def test_every_answer_is_documented(server: Server) -> None:
    document = make_app(server.service, access_of(TOKEN), SETTINGS.server.max_body).openapi()
    assert fuzz(document, server.port, 20, {"Authorization": f"Bearer {TOKEN}"}) > 15
