cd /tmp/wt/eyes; export PYTHONPATH=. OMP_NUM_THREADS=1
P="nice -n 5 /work/main/.venv/bin/python benchmarks/shapes.py /work/shared/data/photos/val --signals 11 --start 14 20 4 4 40 10 --steps 6 3"
$P --levels 44 52 60 68 --name shapes_photographs_high > /tmp/eyes/high.log 2>&1
