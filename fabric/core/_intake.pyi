from fabric.core.intake import Intake as Intake
