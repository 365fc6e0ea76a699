"""Hosts over SSH and on EC2: host keys, the tahoe.cfg of their nodes, registering. The commands are in `cli/fleet/`.

registering     sets an option in the tahoe.cfg of many hosts, and restarts their nodes; setremoteconfigoption: of one
tahoe_cfg       the editor of tahoe.cfg, which Ansible's module uses too
targets         which hosts: named, in a file, in an inventory, on EC2
access          SSH connections, by fabric; hostkeys and known_hosts: which host keys are trusted
remote          one host over SSH: files, commands; remote_sudo: files of another account
remote_errors   errors of SSH -> a `Trouble` (trouble.py)
restarting      restarts nodes
web_port        asks a node's web port
running         whether a process of ours holds a state folder
ec2             instances on EC2; ec2_list, ec2_compare: the list of the last run, and what changed
"""
