import sys; sys.path.insert(0,'benchmarks')
import numpy as np, torch, time
torch.set_num_threads(1)
from pathlib import Path
import shapes
from combiner_cli.media import files as media
from combiner_cli.bench import measures
from combiner_cli.priors import library
from combiner_cli.codec import pipeline
from combiner_cli.family import Target, EncodingOptions
from combiner_cli.families.siren import encoder as se
from combiner_cli.families.siren.fitting import newton
from combiner_cli.stages import shape
from combiner_cli.stages.moments import UNIT
from combiner_cli.signals.signal import *
STRENGTH=0
orig=se._objective
def obj(prior,signals,layout,device):
    o=orig(prior,signals,layout,device)
    if not STRENGTH: return o
    s2=prior.beta*math.prod(layout.extent)*prior.network.outputs/2
    fac=[]
    for s in signals:
        v=to_values(s)[:,:,:3]; luma=(v.mean(-1)*math.sqrt(3)*UNIT/math.sqrt(s2))[None]
        m=shape.masking(np.rint(luma),STRENGTH)[0]
        w=np.exp2(-m/16); w/=np.sqrt((w**2).mean())
        lay1=Tiling(layout.extent,layout.counts,layout.shape,((0,),))
        fac.append(np.tile(split(w[:,:,None],lay1),(len(layout.planes),1,1)))
    f=np.concatenate(fac)
    from combiner_cli.families.siren.fitting import posterior as P
    order=np.random.Generator(np.random.Philox(P._SHUFFLE_SEED)).permutation(f.shape[2])
    t=torch.tensor(f[:,:,order],dtype=torch.float32)
    from dataclasses import replace
    return replace(o,inside=t if o.inside is None else o.inside*t)
import math
se._objective=obj
# gradient: residual counts twice
src=open('combiner_cli/families/siren/fitting/newton.py').read()
def expected(posterior,objective,pairs,networks,here):
    count,part=pairs.shape[1],objective.part(networks)
    places=posterior.places[networks]
    z=posterior.mean[networks,None].expand(-1,count,-1)
    z=z.scatter_add(2,places[:,None].expand(-1,count,-1),pairs).flatten(0,1)
    done=newton.derivatives.forward(part.network,part.weights(z),part.features[:,here])
    residual=part.target[:,:,here].repeat_interleave(count,0)-done.output
    pull=residual
    if part.inside is not None:
        i=part.inside[:,:,here].repeat_interleave(count,0)
        residual=residual*i; pull=residual*i
    pulled=part.deviation*newton.derivatives.gradient(part.network,done,pull)
    error=(residual*residual).sum(dim=(1,2)).reshape(-1,count).mean(dim=1)
    return pulled.reshape(len(places),count,-1).mean(dim=1).gather(1,places),error
newton._expected_error=expected
if __name__=='__main__':
    prior=library.find(sys.argv[1]); side=int(sys.argv[2]); n=int(sys.argv[3])
    p=sorted(Path('/work/shared/data/photos/val').iterdir())
    for x in p[::len(p)//n][:n]:
        s=shapes.shortened(media.read_signal(x),side,0)
        row=[]
        for st in [int(a) for a in sys.argv[4].split(',')]:
            STRENGTH=st
            t=time.process_time()
            r=pipeline.encode(s,prior,Target('quality' if 0 else 'bits_per_pixel',float(sys.argv[5]),'psnr'),EncodingOptions(effort=int(sys.argv[6])))
            d=pipeline.decode(r.data,prior).signal if 0 else None
            from combiner_cli import api
            d=api.decode(r.data)
            d=getattr(d,'signal',d); d=d() if callable(d) else d
            row.append(f"{st}: {len(r.data)}B s2 {measures.SSIMULACRA_2.of(s,d):.2f} ms {measures.MS_SSIM.of(s,d) or 0:.4f} psnr {measures.PSNR.of(s,d):.2f} ({time.process_time()-t:.0f}s)")
        print(x.stem[:20],' | '.join(row),flush=True)
