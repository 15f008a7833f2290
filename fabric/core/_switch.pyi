from fabric.core.entry import read_plain_marker as read_plain_marker
from fabric.core.entry import refusal as refusal
from fabric.core.switch import Switch as Switch
