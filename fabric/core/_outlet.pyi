from fabric.core.outlet import Outlet as Outlet
