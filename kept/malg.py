"""M-algorithm experiment."""
import sys,time,math; sys.path.insert(0,'benchmarks')
import numpy as np
from copy import copy
from dataclasses import replace
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal
from combiner_cli.family import Target
from combiner_cli.rec import search, native
from combiner_cli.stages import allocation
from combiner_cli.stages.allocation import *
from combiner_cli.stages.class_stream import SymbolWriter, SymbolCost
from combiner_cli.stages.encoding import rate_control, noise_levels, encoder as SE
from combiner_cli.stages.encoding.encoder import Budget, Writer, GROUP_BITS, _least_cost, _Choice, SearchingCoder
from combiner_cli.stages.encoding.simulation import posterior, squared_over_noise, REACH
from combiner_cli.stages.moments import *
from combiner_cli.stages.moments import Parts, in_deviations
from combiner_cli.stages.encoding.rate_control import SearchOptions
from combiner_cli.families.pyramid import encoder as E, levels, haar
from combiner_cli.families.pyramid.decoder import root_moments
from combiner_cli.stages.shape import rescaled, FLAT_PICTURE

class Recorder(SymbolCost):
    def __init__(self): super().__init__(); self.history=()
    def put(self, symbols, frequencies):
        super().put(symbols, frequencies); self.history=(self.history,(symbols.copy(),frequencies))
    def copy(self):
        r=Recorder(); r.bits=self.bits; r.history=self.history; return r
    def stream(self):
        items=[]; h=self.history
        while h: h,item=h; items.append(item)
        w=SymbolWriter()
        for s,f in reversed(items): w.put(s,np.ascontiguousarray(f))
        return w.stream()

def ends(target, chaining, key, before, count):
    job=search._Job(target, chaining, key, before[None], native.kernel())
    mean,dev=target.mean[0],target.deviation[0]
    cost=search._first_cost(job.coded[0,(job.coded.shape[1])%1::1],1)
    back=np.empty((len(mean),1,256),dtype=np.uint8)
    for n in range(0,len(mean),256):
        some=slice(n,n+256); parts=search.energies.energies_of(mean[some],dev[some])
        job.kernel.advance(search._table(job,int(parts.columns.max())),parts,None,cost,back[some])
    out=[]
    for st in np.argsort(cost[0],kind='stable')[:count]:
        c=np.full_like(cost,np.inf); c[0,st]=0
        out.append(search._traced(c,back))
    return out

class Coder(SearchingCoder):
    def choices(self, moments, true, share, extra, many):
        writer,count=self.writer,share+extra
        part=allocation.partition(moments.information(),count,writer.key,extra)
        coded,mean,deviation=posterior(moments,true)
        if count and many>1:
            means,deviations=np.zeros((2,len(moments.mean))); means[coded],deviations[coded]=mean,deviation
            target=search.target(part,means,deviations,count)
            before=writer.indices[-2:]
            alts=ends(target,writer.chaining,writer.key,before,many)
        else:
            return [self._choice(moments,true,share,extra)]
        res=[]
        for indices in alts:
            values=allocation.look_up(np.append(before,indices),part,writer.chaining,writer.key)
            weights=moments.values(part.order,values)
            error=np.abs(moments.over_noise(true[coded]-in_deviations(weights[coded]),coded))
            left=moments.variance_left(coded)
            squared=float((error**2/left).sum())
            res.append(_Choice(indices,values,weights,float(GROUP_BITS*count)+squared/(2*math.log(2))))
        return res

class Hyp: pass
def cp(h):
    n=Hyp(); n.writer=copy(h.writer); n.writer.allocator=copy(h.writer.allocator); n.writer.allocator.densities=list(h.writer.allocator.densities)
    n.writer.symbols=h.writer.symbols.copy(); n.writer._kept=h.writer._kept.copy(); n.writer.latents=list(h.writer.latents)
    n.level=None if h.level is None else replace(h.level,padded_classes=h.level.padded_classes.copy(),details=dict(h.level.details),unpacked=dict(h.level.unpacked))
    n.picture=h.picture; n.parents=h.parents; n.err=h.err; n.cost=h.cost
    return n

def expand(h, prior, stage, moments, true, bands, M):
    """children of a hypothesis"""
    c=Coder(h.writer, prior.parts_from); parts=Parts(moments,prior.parts_from); rep=0
    while True:
        w=c.writer
        if parts.may_be_widened: c._widen(parts.moments,bands,true)
        m=parts.begin()
        if m.last and not rep: break
        weights,repeat=c._part(stage,m,true,may_repeat=rep<16)
        parts.put(weights,repeat); rep+=repeat
        if parts.finished: return [(h,parts.moments.mean)]
    info=int(m.information().sum()); w=h.writer
    end=w.allocator.ends(stage,m.last)
    share=w.allocator.take(stage,info,m.last)
    opts=[]
    base=c.choices(m,true,share,0,M)
    if end:
        alls=[(x,0) for x in base]; best=base[0]
        for count in range(1,1+min(info-share,16) if share<=16 else 1):
            if best.cost<=8*(share+count)+_least_cost(len(best.candidates)): break
            xs=c.choices(m,true,share+count,0,M); alls+=[(x,0) for x in xs]; best=min(best,xs[0],key=lambda q:q.cost)
        opts=[(x,None) for x,_ in alls]
    elif may_have_extra_groups(stage,share,info):
        alls=[(x,0) for x in base]; best=base[0]
        most=min(w.allocator.most_extra(info,share),REPEAT-1)
        for count in range(1,1+most):
            if best.cost<=8*(share+count)+_least_cost(len(best.candidates)): break
            xs=c.choices(m,true,share,count,M); alls+=[(x,count) for x in xs]; best=min(best,xs[0],key=lambda q:q.cost)
        # repeat as usual only if best
        opts=alls
    else: opts=[(x,None) for x in base]
    lg=lambda e: 0 if e is None else 16-math.log2(EXTRA_FREQUENCIES[e,0])
    opts.sort(key=lambda o:o[0].cost+lg(o[1])); opts=opts[:M]
    out=[]
    for x,e in opts:
        n=cp(h)
        if e is not None:
            n.writer.allocator.take_extra(e); n.writer.symbols.exchange(e,EXTRA_FREQUENCIES)
        n.writer.append(x.indices); n.writer.latents.append(x.candidates)
        mm=replace(moments,mean=x.weights)
        out.append((n,x.weights))
    return out

def code(prior, sim, noise_level, M, budget=Budget(1.05), prefilter=None):
    plane=sim.planes[0]
    cost=sim.cost(noise_level)
    w=Writer.begin(prior.key,100,budget,'viterbi',0); w.symbols=Recorder()
    w.begin_part(None,levels.last_classes(plane.colours),levels.last_stage(plane.shape,plane.colours))
    sizes=haar.sizes(plane.shape); count=len(sizes)-1
    h=Hyp(); h.writer=w; h.level=None; h.picture=None; h.parents=None; h.err=0; h.cost=0
    src=E._EncoderSource(prior,plane,noise_level,FLAT_PICTURE,SearchingCoder(w,prior.parts_from),True)
    hyps=[h]
    def step(hyps, stage, moments_of):
        out=[]
        for h in hyps:
            moments=moments_of(h); true=src._true(stage,h.level)
            if not len(moments.mean): out.append(h); continue
            for n,weights in expand(h,prior,stage,moments,true,levels.band_count(h.level,stage.number),M):
                n.err=h.err+squared_over_noise(moments,true,weights)
                n.cost=8*len(n.writer.indices)+n.writer.symbols.bits+n.err/(2*math.log(2)) - 8*n.writer.allocator.pending/(GROUP_INFORMATION*96)*0
                if h.level is None: n.picture=weights.reshape(1,plane.colours,*sizes[-1])
                else: levels.put(n.level,stage.number,weights)
                out.append(n)
        out.sort(key=lambda h:h.cost)
        return out[:M]
    with prior.scratch:
        hyps=step(hyps,StageId(count,0),lambda h: root_moments(count,sizes[-1],plane.colours,noise_level))
        for number in range(count-1,-1,-1):
            for h in hyps: h.level=levels.new_level(number,np.array([noise_level]),h.picture,h.parents,FLAT_PICTURE)
            for chroma in (False,True):
                for h in hyps:
                    f,means=prior.class_frequencies(h.level,chroma,True)
                    src.coder.writer=h.writer
                    h.level.classes[:,int(chroma)]=src.classes(h.level,chroma,f,means).reshape(1,*h.level.units)
                for num in levels.stage_numbers(chroma):
                    hyps=step(hyps,StageId(number,num),lambda h: prior.moments(h.level,num))
            if number:
                for h in hyps: h.picture,h.parents=h.level.refined(sizes[number]),h.level.classes
    best=hyps[0]
    err,_=sim._least_error(plane,best.level,noise_level)
    return len(best.writer.symbols.stream())+len(best.writer.indices), err

if __name__=='__main__':
    prior=library.find(sys.argv[1]); N=int(sys.argv[2])
    with np.load('/work/shared/data/cifar10/cifar10_subset.npz') as c: sig=[Signal('image',x) for x in c['test'][:N]]
    how=SearchOptions(5,'viterbi',0)
    sims=[E.ImageSimulation(prior,s) for s in sig]
    for rate in [float(x) for x in sys.argv[3].split(',')]:
        lv=[noise_levels.choose(s,Target('rate',rate),5)[1] for s in sims]
        t=time.process_time()
        rows=[(len(c.payload),c.squared_error) for c in (rate_control.code(s,l,Target('rate',rate),how) for s,l in zip(sims,lv))]
        def show(name,rows,t):
            by=np.array([r[0] for r in rows]); ps=10*np.log10(4/(np.array([r[1] for r in rows])/3072))
            lag=np.mean([8*r[0]+r[1]/(2*math.log(2)*s.noise_variance(l)) for r,s,l in zip(rows,sims,lv)])
            print(rate,name,'bpp %.4f psnr %.3f lagr %.2f  %.3f s'%(8*by.mean()/1024,ps.mean(),lag,t/N),flush=True)
        show('now',rows,time.process_time()-t)
        for M in [int(x) for x in sys.argv[4].split(',')]:
            t=time.process_time(); rows=[code(prior,s,l,M) for s,l in zip(sims,lv)]; show('M%d'%M,rows,time.process_time()-t)
