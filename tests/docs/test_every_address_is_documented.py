"""docs/web.md has every address of pages, API and operators, and none that does not exist."""

import re

from lae_monitor.core.kind import load
from lae_monitor.kinds import KINDS
from lae_monitor.net.http_operations import operations
from lae_monitor.service.control import control
from lae_monitor.web.api import api_routes
from lae_monitor.web.pages import page_routes


def test_every_address_is_there_and_no_other(page, markdown):
    site = archive = mover = retention = stop = None  # addresses do not depend on them
    of_kinds = [load(kind.routes)(site) for kind in KINDS if kind.routes]
    ours = {route.path for routes in (api_routes(site), page_routes(site), *of_kinds) for route in routes}
    ours |= {route.path for routes in (operations(archive, ""), control(mover, retention, stop)) for route in routes}
    documented = {
        address
        for table in markdown.tables(page("web.md"))
        for row in table
        for address in re.findall(r"`(/[^`]*)`", row[0])
    }
    assert documented == ours
