"""Slack with several workspaces in which users install one app: each is used like `service.Slack`.

async with SlackApp() as slack:
    slack.oauth.redirect_url = …  # of the bot
    first, second = slack.add_workspace("T0ONE"), slack.add_workspace("T0TWO")
    slack.choose(first)  # then a browser opens /slack/install of the bot
    ts = await first.say(ALICE, GENERAL, f"{first.mention} hello")
"""

from collections.abc import Sequence
from typing import Any

from tests.servers.slack.delivery import Delivery, Kind
from tests.servers.slack.oauth import Grant, OAuth
from tests.servers.slack.server import SlackServer
from tests.servers.slack.service import ALICE, BOB, BOT_USER, CAROL, PROXY_VARIABLES, Command, Slack
from tests.servers.slack.workspace import Change, Message, Workspace

Json = Any


class Tenant(Slack):
    """Workspace of a `SlackApp`: the same people, channels and bot user, in a workspace of its own."""

    def __init__(self, host: "SlackApp", team: str) -> None:
        """Share everything with `host` except the workspace."""
        for name, value in vars(host).items():
            if name not in ("workspace", "tenants"):
                setattr(self, name, value)
        self.host = host
        self.workspace = Workspace(host.url, team, name=team.title(), numbers=host.workspace.numbers)
        self.workspace.has_home_tab = host.workspace.has_home_tab
        self.shared: set[str] = set()
        self._settle_in()

    def _deliver(self, kind: Kind, payload: dict[str, Json]) -> Delivery:
        return self.host._deliver(kind, payload)

    def _know(self, user: str) -> None:
        """Let a new user be known in the workspaces with which this one shares channels, as a foreign one."""
        super()._know(user)
        for channel in self.shared:
            for each in self.host.tenants:
                if channel in each.shared:
                    each.workspace.channels[channel].members.add(user)
        for each in self.host.partners_of(self):
            if user not in each.workspace.users:
                each.workspace.users[user] = self.workspace.users[user]
                each.workspace.described[user] = {"team_id": self.workspace.team}

    def _announce(self, change: Change, message: Message, before: str, **options: Any) -> None:
        """Send the events of a message, those of a shared channel for each installation that is in it."""
        sharing = [each for each in self.host.tenants if message.channel in each.shared]
        for each in (sharing or [self])[: self.host.installations_told]:
            SlackServer._announce(each, change, message, before, **options)

    async def press(
        self, user: str, channel: str, ts: str, action_id: str, value: str | None = None
    ) -> Command:
        """Press a button of a message; Slack names the workspace whose bot has posted it."""
        self._know(user)
        poster = next(
            each for each in self.host.tenants if each.workspace.team == self.message(channel, ts).team
        )
        return await Slack.press(poster, user, channel, ts, action_id, value)

    def uninstall(self) -> None:
        """Remove the app as an administrator: the tokens end, and the app is notified."""
        self.host.end(self.workspace.organisation or self.workspace.team)
        for event in (
            {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [BOT_USER]}},
            {"type": "app_uninstalled"},
        ):
            self.send_event(event)


class SlackApp(Slack):
    """Slack for an app that is installed over OAuth. It delivers over HTTP if `request_url` is set."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.tenants: list[Tenant] = []
        self.installations_told: int | None = None
        """Number of installations that are sent an event of a shared channel; None: all that are in it."""
        self.web_api.subscriptions |= {"app_uninstalled", "team_access_granted", "team_access_revoked"}
        self.web_api.subscriptions.add("tokens_revoked")
        del self.web_api.tokens[self.bot_token]  # there is no workspace from the start

    @property
    def oauth(self) -> OAuth:
        """Return the OAuth of the app."""
        return self.web_api.oauth

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables for a bot in a child process."""
        common = {
            "SLACK_CLIENT_ID": self.oauth.client_id,
            "SLACK_CLIENT_SECRET": self.oauth.client_secret,
            "SLACK_API_URL": self.api_url,
            "SLACK_SIGNING_SECRET": self.signing_secret,
        }
        if not self.request_url:
            common["SLACK_APP_TOKEN"] = self.app_token
        return common | dict.fromkeys(PROXY_VARIABLES, "")

    def add_workspace(self, team: str) -> Tenant:
        """Create a workspace with Alice, Bob, Carol and #general."""
        tenant = Tenant(self, team)
        self.tenants.append(tenant)
        return tenant

    def share(self, channel: str, *tenants: Tenant, without_bot: Sequence[Tenant] = ()) -> str:
        """Create a channel that workspaces share, the first as its host, with the app's bots in it."""
        messages: list[Message] = []
        for each in tenants:
            members = (ALICE, BOB, CAROL) if each in without_bot else (ALICE, BOB, CAROL, BOT_USER)
            each.add_channel(channel, members=members)
            place = each.workspace.channels[channel]
            place.is_shared, place.teams = True, [tenant.workspace.team for tenant in tenants]
            each.workspace.messages[channel] = messages
            each.shared.add(channel)
        return channel

    def partners_of(self, tenant: Tenant) -> list[Tenant]:
        """Return the workspaces with which one shares channels."""
        return [each for each in self.tenants if each is not tenant and each.shared & tenant.shared]

    def choose(self, *tenants: Tenant, organisation: str | None = None) -> None:
        """Let the next user who is asked agree for these workspaces; without any they decline."""
        chosen = [each.workspace for each in tenants]
        self.oauth.choice = Grant(chosen, organisation) if chosen else None

    def add_to_organisation(self, tenant: Tenant, organisation: str, *, told: bool) -> None:
        """Let an administrator of an organisation use the app in one more workspace; the app may be told."""
        reached = [self.web_api.organisations[each] for each in self.oauth.tokens_of(organisation)]
        for workspaces in reached:
            workspaces[tenant.workspace.team] = tenant.workspace
            for each in workspaces.values():
                each.organisation, each.siblings = organisation, list(workspaces)
        if told:
            tenant.send_event({"type": "team_access_granted", "team_ids": [tenant.workspace.team]})

    def end(self, id: str) -> None:
        """End all tokens of a workspace or an organisation."""
        self.web_api.revoked.update(self.oauth.tokens_of(id))

    def unfinished(self) -> list[str]:
        """Return what the app has left open in any workspace."""
        return [each for tenant in self.tenants for each in tenant.unfinished()]

    def calls_in(self, team: str) -> Sequence[str]:
        """Return the methods that were called with a token of a workspace, in order."""
        return [call.method for call in self.calls if call.team == team]
