import sys; sys.path.insert(0,'/tmp/small')
from malg import *
from collections import defaultdict
prior=library.find(sys.argv[1]); N=int(sys.argv[2])
with np.load('/work/shared/data/cifar10/cifar10_subset.npz') as c: sig=[Signal('image',x) for x in c['test'][:N]]
sims=[E.ImageSimulation(prior,s) for s in sig]
T=defaultdict(lambda: np.zeros(6))
orig=SE.SearchingCoder.weights
def weights(self,stage,moments,true,bands=1):
    g0=len(self.writer.indices); b0=self.writer.symbols.bits
    p=np.where(moments.deviation>=0,moments.deviations(np.arange(len(true))),0)
    r=true-in_deviations(moments.mean); ev=1+p**2
    ideal=float((0.5*np.log2(ev)+r**2/ev/(2*math.log(2))).sum())
    m0=Moments(moments.mean.copy(),moments.deviation.copy())
    w=orig(self,stage,moments,true,bands)
    err=float(((true-in_deviations(w))**2).sum())/(2*math.log(2))
    g=len(self.writer.indices)-g0; b=self.writer.symbols.bits-b0
    T[(stage.level,stage.number)]+=np.array([8*g,b,err,ideal,8*g+b+err-ideal,1])
    return w
SE.SearchingCoder.weights=weights
how=SearchOptions(5,'viterbi',0)
for rate in (0.16,0.41,1.45):
    T.clear()
    for s in sims:
        l=noise_levels.choose(s,Target('rate',rate),5)[1]; rate_control.code(s,l,Target('rate',rate),how)
    print(rate,'  groups bits, symbol bits, err, ideal, gap')
    for k,v in T.items(): print(k,np.round(v[:5]/N,1))
    print('sum',np.round(sum(T.values())[:5]/N,1))
