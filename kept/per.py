import sys; sys.path.insert(0,'/tmp/small')
from look import *
prior=library.find('photo-8'); N=24
with np.load('/work/shared/data/cifar10/cifar10_subset.npz') as c: sig=[Signal('image',x) for x in c['test'][:N]]
how=SearchOptions(5,'viterbi',0)
sims=[E.ImageSimulation(prior,s) for s in sig]
for rate in (0.3,):
    tot=[]
    for s in sims:
        l=noise_levels.choose(s,Target('rate',rate),5)[1]
        f=lambda r: 8*r[0]+r[1]/(2*math.log(2)*s.noise_variance(l))
        c=rate_control.code(s,l,Target('rate',rate),how)
        row=[f((len(c.payload),c.squared_error)),s.lagrangian(l)]+[f(Machine(prior,s,l,K).run()) for K in (0,1,2)]
        tot.append(row); print(np.round(row))
    print(np.mean(tot,axis=0))
