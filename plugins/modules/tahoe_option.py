#!/usr/bin/python
# MIT License; see LICENSE.
"""Sets an option of a Tahoe-LAFS node's tahoe.cfg, and touches nothing else in it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tahoe_option
short_description: Sets an option of a Tahoe-LAFS node's configuration
version_added: "0.1.0"
description:
  - Sets an option in a node's C(tahoe.cfg), or comments it out. Comments, the order of lines, line endings and all else in
    the file stay as they are, byte for byte.
  - An option that is set is changed in its line. One that is not takes the place of an empty commented-out line of its name,
    such as C(#log_gatherer.furl =); else it goes below such a line with a value; else to the end of its section, which is
    made where it is missing.
  - Nothing is written when Tahoe-LAFS reads the value already.
  - The file is replaced in one step, and keeps its mode, owner and group. A symbolic link stays one.
  - A node reads its configuration when it starts. Restart it with a handler.
options:
  path:
    description: The C(tahoe.cfg) of the node. It has to exist.
    type: path
    required: true
  section:
    description: The section of the option, such as V(node). V(DEFAULT) is refused, for it means every section.
    type: str
    required: true
  option:
    description: The option, such as V(log_gatherer.furl), in upper or lower case.
    type: str
    required: true
  value:
    description:
      - What Tahoe-LAFS is to read, in one line. It is taken as it is; a V(%) needs no care.
      - Required if O(state=present). It is never shown.
    type: str
  state:
    description:
      - V(present) sets the option.
      - V(absent) leaves C(#option =) in its place, without the value.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says whether the file would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows the file before and after, with V(***) for the option's value and for all else that may be a secret.
    support: full
  platform:
    description: Where it works.
    platforms: posix
    support: full
author:
  - lae_monitor maintainers
"""

EXAMPLES = r"""
- name: Let the node report its incidents
  lae.monitor.tahoe_option:
    path: /home/customer/storageserver/tahoe.cfg
    section: node
    option: log_gatherer.furl
    value: "{{ log_gatherer_furl }}"
  notify: Restart the storage server

- name: Let it report them no longer
  lae.monitor.tahoe_option:
    path: /home/customer/storageserver/tahoe.cfg
    section: node
    option: log_gatherer.furl
    state: absent
  notify: Restart the storage server
"""

RETURN = r"""
path:
  description: The file, as it was given.
  type: str
  returned: always
  sample: /home/customer/storageserver/tahoe.cfg
section:
  description: The section.
  type: str
  returned: success
  sample: node
option:
  description: The option.
  type: str
  returned: success
  sample: log_gatherer.furl
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils import tahoe_cfg
except ImportError:  # installed as a collection
    from ansible_collections.lae.monitor.plugins.module_utils import tahoe_cfg


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "section": {"type": "str", "required": True},
            "option": {"type": "str", "required": True},
            "value": {"type": "str", "no_log": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["value"])],
        supports_check_mode=True,
    )
    path, section, option, value = (module.params[name] for name in ("path", "section", "option", "value"))
    present = module.params["state"] == "present"

    def edit(data: bytes) -> bytes:
        if present:
            return tahoe_cfg.set_option(data, section, option, value)
        return tahoe_cfg.unset_option(data, section, option)

    try:
        edited = tahoe_cfg.edit_file(path, edit, check=module.check_mode)
    except (tahoe_cfg.BadOption, tahoe_cfg.BadFile) as error:
        module.fail_json(path=path, msg=f"{path}: {error}")
    except OSError as error:
        module.fail_json(path=path, msg=f"{path}: {tahoe_cfg.why(error)}")
    mark = f"{tahoe_cfg.HIDDEN} (new)" if edited.changed else tahoe_cfg.HIDDEN
    diff = {
        "before_header": path,
        "after_header": path,
        "before": tahoe_cfg.without_secrets(edited.before, section, option),
        "after": tahoe_cfg.without_secrets(edited.after, section, option, mark),
    }
    module.exit_json(changed=edited.changed, path=path, section=section, option=option, diff=diff)


if __name__ == "__main__":
    main()
