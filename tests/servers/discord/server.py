"""Server behind `tests.servers.discord.service.Discord`: parts, routes and life cycle."""

from types import TracebackType
from typing import Self

from aiohttp import web

from tests.servers.closing import take_up_connections
from tests.servers.discord.api import Api, Call
from tests.servers.discord.commands import Commands
from tests.servers.discord.gateway import Gateway
from tests.servers.discord.interactions import Interactions
from tests.servers.discord.rest import Rest
from tests.servers.discord.world import World
from tests.servers.steps import Steps

REQUEST_LIMIT = 25 * 2**20


class DiscordServer:
    """Everything except the actions of tests."""

    def __init__(self, token: str = "test.discord.token") -> None:
        self.token = token
        self.base = ""
        self.world = World(lambda: f"{self.base}/cdn")
        self.api = Api(token)
        self.violations = self.api.violations
        self.refusals = self.api.refusals
        self.calls: list[Call] = self.api.calls
        self.gateway = Gateway(self.world, token, self._violate)
        self.rest = Rest(self.world, self.gateway.starts)
        self.interactions = Interactions(self.world, self.gateway.tell)
        self.commands = Commands(self.world.snowflake, self.world.bot.id, self.world.guilds)
        self.guild = self.world.add_guild("guild")
        self.general = self.world.add_channel("general", self.guild)
        self.alice = self.world.add_user("alice")
        self.bob = self.world.add_user("bob")

    def _violate(self, what: str) -> None:
        self.api.note(what, blame=True)

    @property
    def url(self) -> str:
        """Return the REST base, for `DISCORD_API_URL` and `discord.http.Route.BASE`."""
        return f"{self.base}/api/v10"

    @property
    def gateway_url(self) -> str:
        return self.gateway.url

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables that point a child process to this server."""
        return {"DISCORD_TOKEN": self.token, "DISCORD_API_URL": self.url}

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=REQUEST_LIMIT)
        app.router.add_get("/gw/", self.gateway.handle)
        app.router.add_get("/gw/resume/", self.gateway.handle)
        app.router.add_get("/cdn/attachments/{channel}/{id}/{name}", self._download)
        for part in (self.rest, self.interactions, self.commands):
            self.api.add(app, part.routes())
        self.api.add_fallback(app)
        # requests that a fault holds back are not waited for
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.base = f"http://127.0.0.1:{port}"
        self.gateway.url = self.rest.gateway_url = f"ws://127.0.0.1:{port}/gw/"
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gateway.drop()
        await take_up_connections()
        await self._runner.cleanup()

    def observe(self, steps: Steps) -> None:
        """Report each REST request, by its method and the pattern of its path."""
        self.api.steps = steps

    async def _download(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization"):
            self._violate(f"GET {request.path}: the token was sent to the file host")
        file = self.world.files.get(int(request.match_info["id"]))
        if file is None or "hm" not in request.query:
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=file.data, content_type=file.media_type)
