from fabric.core.entry import read_marker as read_marker
from fabric.core.entry import refusal as refusal
from fabric.core.switch import Switch as Switch
