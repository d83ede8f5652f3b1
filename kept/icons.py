import sys; sys.path.insert(0,'/tmp/wt/small/benchmarks')
from pathlib import Path
import graphics_data as g
recipe=g.Recipe(Path('/tmp/small/packages'),None,False,1.0)
print(g.written(Path('/tmp/small/icons'),recipe.small(),[1,2]))
recipe=g.Recipe(Path('/tmp/small/packages'),None,True,1.0)
g.SMALL=300
print(g.written(Path('/tmp/small/icons-held-out'),recipe.small(),[1,3]))
