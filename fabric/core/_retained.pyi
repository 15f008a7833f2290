from fabric.core.retained import Table as Table
from fabric.core.retained import Tour as Tour
