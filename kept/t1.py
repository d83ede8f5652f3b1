import numpy as np, time, glob, sys
from PIL import Image
from combiner_cli.priors import library
from combiner_cli.families.pyramid.adaptation.learning import *
from combiner_cli.learning.distributed import CPU
start=library.find("photo-8")
fs=sorted(glob.glob('/work/shared/data/photos/train/*'))[::20]
tr=[np.asarray(Image.open(f).convert('RGB')) for f in fs]; va=[np.asarray(Image.open(f).convert('RGB')) for f in sorted(glob.glob('/work/shared/data/photos/val/*'))[:4]]
plan=AdaptationPlan(name="x",steps=60,signals=4,noise_levels=(16,64),seed=0,size=512,start=start.id,crop=320,latents=8)
L=AdaptationLearning(plan,tr,va,start,"d",CPU)
T=L.training()
t=time.process_time(); T._begin(); print("begin",time.process_time()-t,len(tr))
t=time.process_time(); pass
# gradient check
o=T._example(0,0).objective; b=np.zeros(o.size,np.float32); c0,k0,g=o(b); rng=np.random.default_rng(0); d=(rng.standard_normal(o.size)*T._unit).astype(np.float32)*0.02
print("grad check", (o(d)[0]-o(-d)[0])/2, g@d)
for n in range(30):
    t=time.process_time(); T.step(n); 
    if n%6==5: print(n, "step s",time.process_time()-t, np.array(T._sums)[-24:].sum(0).round(1).tolist(), T._spread[:4])
t=time.process_time(); print(T.measure(30), time.process_time()-t)
