import sys; sys.path.insert(0,'/tmp/small')
from malg import *
from malg import _least_cost
class H: pass
def copyh(h):
    n=H(); n.__dict__.update(h.__dict__)
    n.writer=copy(h.writer); n.writer.allocator=copy(h.writer.allocator)
    n.writer.symbols=h.writer.symbols.copy(); n.writer._kept=h.writer._kept.copy(); n.writer.latents=list(h.writer.latents)
    n.level=None if h.level is None else replace(h.level,padded_classes=h.level.padded_classes.copy(),details=dict(h.level.details),unpacked=dict(h.level.unpacked))
    return n
def viterbi(target,key,cost):
    job=search._Job(target, SE.Chaining(8,1), key, np.zeros((1,0),dtype=np.int64), native.kernel())
    mean,dev=target.mean[0],target.deviation[0]
    cost=cost.copy(); back=np.empty((len(mean),1,256),dtype=np.uint8)
    for n in range(0,len(mean),256):
        some=slice(n,n+256); parts=search.energies.energies_of(mean[some],dev[some])
        job.kernel.advance(search._table(job,int(parts.columns.max())),parts,None,cost,back[some])
    return cost,back
def traced(cost,back,state):
    c=np.full_like(cost,np.inf); c[0,state]=0
    return search._traced(c,back)
class Machine:
    def __init__(s,prior,sim,noise_level,K,deep=1):
        s.prior,s.sim,s.nl,s.K=prior,sim,noise_level,K
        s.plane=sim.planes[0]; s.sizes=haar.sizes(s.plane.shape); s.count=len(s.sizes)-1
        steps=[('w',StageId(s.count,0))]
        for number in range(s.count-1,-1,-1):
            steps.append(('level',number))
            for chroma in (False,True):
                steps.append(('c',chroma))
                steps+= [('w',StageId(number,n)) for n in levels.stage_numbers(chroma)]
        s.steps=steps
        s.src=E._EncoderSource(prior,s.plane,noise_level,FLAT_PICTURE,SearchingCoder(None,prior.parts_from),True)
    def put(s,h,stage,weights):
        h.err+=squared_over_noise(h.moments0,h.true,weights)
        if h.level is None: h.picture=haar.synthesise_root(weights.astype(float).reshape(s.plane.colours,-1),s.sizes[-1])[None]
        else: levels.put(h.level,stage.number,weights)
        h.at+=1; h.ready=None
    def prepare(s,h):
        """to the next stage with groups; h.ready=(stage,m,share,extras allowed)"""
        prior=s.prior
        while h.at<len(s.steps):
            kind,x=s.steps[h.at]
            if kind=='level':
                if h.level is not None: h.picture,h.parents=h.level.refined(s.sizes[h.level.number]),h.level.classes
                h.level=levels.new_level(x,np.array([s.nl]),h.picture,h.parents,FLAT_PICTURE); h.at+=1; continue
            if kind=='c':
                f,means=prior.class_frequencies(h.level,x,True); s.src.coder.writer=h.writer
                h.level.classes[:,int(x)]=s.src.classes(h.level,x,f,means).reshape(1,*h.level.units); h.at+=1; continue
            stage=x
            moments=root_moments(s.count,s.sizes[-1],s.plane.colours,s.nl) if h.level is None else prior.moments(h.level,stage.number)
            if not len(moments.mean): h.at+=1; continue
            h.true=s.src._true(stage,h.level); h.moments0=moments
            bands=levels.band_count(h.level,stage.number)
            c=Coder(h.writer,prior.parts_from); parts=Parts(moments,prior.parts_from); rep=0; done=False
            while True:
                if parts.may_be_widened: c._widen(parts.moments,bands,h.true)
                m=parts.begin()
                if m.last and not rep: break
                weights,repeat=c._part(stage,m,h.true,may_repeat=rep<16)
                parts.put(weights,repeat); rep+=repeat
                if parts.finished: done=True; break
            if done: s.put(h,stage,parts.moments.mean); continue
            w=h.writer; info=int(m.information().sum()); end=w.allocator.ends(stage,m.last)
            share=w.allocator.take(stage,info,m.last)
            if share==0:
                base=c._choice(m,h.true,0,0)
                if info==0 or base.cost<=8+_least_cost(len(base.candidates)):
                    if not end and may_have_extra_groups(stage,share,info): w.symbols.exchange(0,EXTRA_FREQUENCIES)
                    s.put(h,stage,base.weights); continue
            h.ready=(stage,m,share,info,end); return
        h.ready=None
    def target(s,h,extra,share=None):
        stage,m,share,info,end=h.ready
        count=share+extra
        part=allocation.partition(m.information(),count,h.writer.key,0 if end else extra)
        coded,mean,dev=posterior(m,h.true)
        means,devs=np.zeros((2,len(m.mean))); means[coded],devs[coded]=mean,dev
        return part,coded,search.target(part,means,devs,count)
    def start(s,h):
        i=h.writer.indices
        c=np.full((1,256),np.inf,dtype=np.float32); c[0,int(i[-1]) if len(i) else 0]=0
        return c
    def choose(s,h):
        """Viterbi of the ready stage with its number of extra groups: h.options=[(extra,part,cost,back)] best"""
        stage,m,share,info,end=h.ready; w=h.writer
        most=min(info-share,16) if end else (min(w.allocator.most_extra(info,share),REPEAT-1) if may_have_extra_groups(stage,share,info) else 0)
        if end and share>16: most=0
        best=None
        for extra in range(0,1+most):
            count=share+extra
            if best and best[0]<=8*count+_least_cost(best[1]): break
            if count==0:
                coded=np.flatnonzero(m.deviation>=0); err=(h.true[coded]-in_deviations(m.mean[coded]))
                o=(float((err**2).sum())/(2*math.log(2)),0,0,None,None,None)
            else:
                part,coded,target=s.target(h,extra); cost,back=viterbi(target,w.key,s.start(h))
                v=s.evaluate(h,part,traced(cost,back,int(cost.argmin())))
                lg=0 if end else 0
                o=(8*count+v[0],len(part.order),extra,part,cost,back)
            if best is None or o[0]<best[0]: best=o
        h.best=best
        h.total=8*len(w.indices)+w.symbols.bits+h.err/(2*math.log(2))+best[0]
    def evaluate(s,h,part,indices):
        stage,m,share,info,end=h.ready; w=h.writer
        before=w.indices[-2:]
        values=allocation.look_up(np.append(before,indices),part,w.chaining,w.key)
        weights=m.values(part.order,values)
        coded=np.flatnonzero(m.deviation>=0)
        err=h.true[coded]-in_deviations(weights[coded])
        return float((err**2).sum())/(2*math.log(2)),values,weights
    def child(s,h,state):
        n=copyh(h); stage,m,share,info,end=h.ready; cost0,_,extra,part,cost,back=h.best; w=n.writer
        if not end and may_have_extra_groups(stage,share,info): w.allocator.take_extra(extra); w.symbols.exchange(extra,EXTRA_FREQUENCIES)
        if part is None: weights=m.mean
        else:
            indices=traced(cost,back,state); _,values,weights=s.evaluate(h,part,indices)
            w.append(indices); w.latents.append(values)
        s.put(n,stage,weights); return n
    def run(s,budget=Budget(1.05)):
        w=Writer.begin(s.prior.key,100,budget,'viterbi',0); w.symbols=Recorder()
        w.begin_part(None,levels.last_classes(s.plane.colours),levels.last_stage(s.plane.shape,s.plane.colours))
        h=H(); h.writer=w; h.level=h.picture=h.parents=None; h.err=0; h.at=0; h.ready=None
        with s.prior.scratch:
            s.prepare(h); s.choose(h)
            while True:
                _,_,extra,part,cost,back=h.best
                if part is None: kids=[s.child(h,0)]; s.prepare(kids[0])
                else:
                    e0=int(cost.argmin()); n0=s.child(h,e0); s.prepare(n0)
                    if n0.ready is None: h=n0; break
                    kids=[n0]
                    share=n0.ready[2]
                    if s.K:
                        p,_,t=s.target(n0,0 if share else 1)
                        c2,b2=viterbi(t,w.key,cost)
                        order=[]
                        bb=b2[:,0,:].astype(int); cur=np.arange(256)
                        for k in range(len(bb)-1,-1,-1): cur=bb[k][cur]
                        for st in np.argsort(c2[0],kind='stable'):
                            e=int(cur[st])
                            if e not in order: order.append(e)
                            if len(order)>=s.K: break
                        kids=[n0 if e==e0 else s.child(h,e) for e in order]
                        for k in kids:
                            if k is not n0: s.prepare(k)
                if any(k.ready is None for k in kids):
                    # finished
                    for k in kids:
                        if k.ready is not None: s.choose(k)
                    done=[k for k in kids if k.ready is None]; h=done[0]; break
                for k in kids: s.choose(k)
                h=min(kids,key=lambda k:k.total)
        err,_=s.sim._least_error(s.plane,h.level,s.nl)
        return len(h.writer.symbols.stream())+len(h.writer.indices),err
if __name__=='__main__':
    prior=library.find(sys.argv[1]); N=int(sys.argv[2])
    with np.load('/work/shared/data/cifar10/cifar10_subset.npz') as c: sig=[Signal('image',x) for x in c['test'][:N]]
    how=SearchOptions(5,'viterbi',0)
    sims=[E.ImageSimulation(prior,s) for s in sig]
    for rate in [float(x) for x in sys.argv[3].split(',')]:
        lv=[noise_levels.choose(s,Target('rate',rate),5)[1] for s in sims]
        def show(name,rows,t):
            by=np.array([r[0] for r in rows]); ps=10*np.log10(4/(np.array([r[1] for r in rows])/3072))
            lag=np.mean([8*r[0]+r[1]/(2*math.log(2)*s.noise_variance(l)) for r,s,l in zip(rows,sims,lv)])
            print(rate,name,'bpp %.4f psnr %.3f lagr %.2f  %.3f s'%(8*by.mean()/1024,ps.mean(),lag,t/N),flush=True)
        t=time.process_time()
        rows=[(len(c.payload),c.squared_error) for c in (rate_control.code(s,l,Target('rate',rate),how) for s,l in zip(sims,lv))]
        show('now',rows,time.process_time()-t)
        for K in [int(x) for x in sys.argv[4].split(',')]:
            t=time.process_time(); rows=[Machine(prior,s,l,K).run() for s,l in zip(sims,lv)]; show('K%d'%K,rows,time.process_time()-t)
