"""flogtool's name for the gatherer's FURL, where operators look for it: beside the incidents.

    <archive>/incidents/<cluster>/log_gatherer.furl -> <credentials>/incidents/log_gatherer.furl

A link, so that the secret has one place. The archive takes links for nothing of its own: they are neither moved nor shipped.
"""

import logging
from pathlib import Path

from lae_monitor.net.furls.files import OPEN

log = logging.getLogger(__name__)


def link_furl(folder: Path, furl: Path) -> None:
    """Makes the link in `folder`; a file that has its name already stays, and what goes wrong is only logged."""
    link = folder / OPEN
    try:
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if link.is_symlink() and link.readlink() != furl:
            link.unlink()
        link.symlink_to(furl)
    except FileExistsError:
        pass
    except OSError as error:
        log.warning("%s: %s", link, error)
