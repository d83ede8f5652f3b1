import sys,time; sys.path.insert(0,'benchmarks')
import numpy as np, cProfile, pstats
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal
from combiner_cli.family import Target
from combiner_cli.stages.encoding import rate_control, noise_levels
from combiner_cli.stages.encoding.encoder import Budget, Writer
from combiner_cli.stages.encoding.rate_control import SearchOptions
from combiner_cli.families.pyramid import encoder as E
prior=library.find('photo-8')
with np.load('/work/shared/data/cifar10/cifar10_subset.npz') as c: sig=[Signal('image',x) for x in c['test'][:10]]
how=SearchOptions(5,'viterbi',0)
def run():
    for s in sig:
        sim=E.ImageSimulation(prior,s)
        t=time.process_time()
        s2,l=noise_levels.choose(sim,Target('rate',0.41),5)
        t1=time.process_time()
        c=rate_control.code(s2,l,Target('rate',0.41),how)
        t2=time.process_time()
        print(l,len(c.indices),len(c.classes),round(1000*(t1-t)),round(1000*(t2-t1)), c.squared_error)
run()
p=cProfile.Profile(); p.enable(); run(); p.disable(); pstats.Stats(p).sort_stats('tottime').print_stats(30)
