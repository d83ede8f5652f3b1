import sys; sys.path.insert(0,'/tmp/small')
from malg import *
prior=library.find(sys.argv[1]); N=int(sys.argv[2])
with np.load('/work/shared/data/cifar10/cifar10_subset.npz') as c: sig=[Signal('image',x) for x in c['test'][:N]]
sims=[E.ImageSimulation(prior,s) for s in sig]
for rate in (0.16,0.41,1.45):
    lv=[noise_levels.choose(s,Target('rate',rate),5)[1] for s in sims]
    c=[s.cost(l) for s,l in zip(sims,lv)]
    print(rate,'lagr',np.mean([s.lagrangian(l) for s,l in zip(sims,lv)]),'bits',np.mean([x.bits for x in c]),'class',np.mean([x.class_bits for x in c]),'psnr',np.mean([10*np.log10(4*3072/x.squared_error) for x in c]), 'info', np.mean([x.information.sum()/256 for x in c]))
