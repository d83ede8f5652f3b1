import sys; sys.path.insert(0,'benchmarks')
import numpy as np, torch, argparse, time
torch.set_num_threads(1)
from pathlib import Path
import perceptual
from combiner_cli.bench import measures
from combiner_cli.families.lapped import encoder as lapped, transform, features, levels
from combiner_cli.families.lapped.features import BAND
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal, from_values
from combiner_cli.stages.encoding.simulation import SimulatedCoder
from combiner_cli.stages.shape import SoundShape, pitches
from combiner_cli.family import Target
prior=library.find('general-2')
def clips(dir,n):
    a=argparse.Namespace(data=Path(dir),first=n,seconds=6.0,names=(),side=None)
    return list(perceptual.chosen(a))
def simulated(signal,rate,noise):
    from combiner_cli.codec import goals
    t=goals.target_of('perceptual',kilobits_per_second=None) if 0 else Target('rate',rate*1000/44100,'perceptual')
    sims=lapped._simulations(prior,signal,4,noise,False)
    sim,level=levels.choose(sims,t,4,1e12)
    coder=SimulatedCoder(); parts=[]; true=[]
    for fr in sim.recording.segments:
        w=sim.recording.weights(fr)
        d=lapped.coded_segment(prior,w,level,sim.noise,coder)[0]
        full=np.zeros(w.shape); full[...,:d.shape[-1]]=d
        parts.append(full); true.append(w)
    return sim,level,(coder.bits+coder.symbols.bits),parts,true
def render(sim,parts,signal):
    hop=sim.recording.hop
    ang=sim._fixed['angle'][0]
    v=transform.render(parts,signal.channels,signal.points,hop,hop)
    if signal.channels==2: v=v@transform.rotation(ang).astype(np.float32)
    return from_values(v,'sound',signal.sample_rate,signal.bit_depth)
def filled(parts,true,hop,block,strength,groups,seed=0):
    """noise in zero bands, by mean true energy per pitch group and time block (frames)"""
    rng=np.random.default_rng(seed); out=[]
    nb=hop//BAND
    for p,t in zip(parts,true):
        c,f,_=p.shape
        pb=p.reshape(c,f,nb,BAND); tb=t.reshape(c,f,nb,BAND)
        zero=~pb.any(-1)
        e=(tb**2).mean(-1)
        o=pb.copy()
        if block==0: var=e
        else:
            var=np.zeros_like(e)
            for a in range(0,f,block):
                for ch in range(c):
                    for g in range(groups.max()+1):
                        cols=np.flatnonzero(groups==g)
                        if not len(cols): continue
                        z=zero[ch,a:a+block][:,cols]; ee=e[ch,a:a+block][:,cols]
                        m=ee[z].mean() if z.any() else 0
                        var[ch,a:a+block,cols[0]:cols[-1]+1]=m
        noise=rng.standard_normal(pb.shape)*np.sqrt(var)[...,None]*strength
        o=np.where(zero[...,None],noise,pb)
        out.append(o.reshape(p.shape))
    return out
def groups_of(hop):
    nb=hop//BAND
    centre=((np.arange(nb)+.5)*BAND*44100/2/hop)
    p=np.log2(1+centre/700)
    return np.minimum((p*4).astype(int),19+4)
if __name__=='__main__':
    dir,n,rates=sys.argv[1],int(sys.argv[2]),[float(x) for x in sys.argv[3].split(',')]
    shape=SoundShape(*[int(x) for x in sys.argv[4].split(',')])
    for name,s in clips(dir,n):
        for r in rates:
            sim,level,bits,parts,true=simulated(s,r,shape)
            hop=sim.recording.hop
            g=groups_of(hop)
            res=[]
            zero=np.mean([ (~p.reshape(*p.shape[:2],-1,BAND).any(-1)).mean() for p in parts])
            res.append(('none',measures.VISQOL.of(s,render(sim,parts,s))))
            for title,block,st in (('whole',10**6,1.),('0.5s',int(22050/hop),1.),('known',0,1.)):
                res.append((title,measures.VISQOL.of(s,render(sim,filled(parts,true,hop,block,st,g),s))))
            print(name[:14].ljust(14),r,f'kbps {bits/1000/6:.1f} hop {hop} zero {zero:.2f} lim',' '.join(f'{a}:{b:.2f}' for a,b in res),flush=True)
