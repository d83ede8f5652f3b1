import numpy as np, math, glob
from PIL import Image
from combiner_cli.families.pyramid import haar
def roots(imgs):
    out=[]
    for im in imgs:
        v=im.astype(float)-127.5
        p=np.einsum('kc,hwc->khw',haar.COLOUR,v)
        n=0
        while max(p.shape[1:])>4: p,_=haar.analyse(p); n+=1
        out.append(p/2**n)
    return np.array([o for o in out if o.shape==(3,4,4)])
def bands(r):
    p1,d1=haar.analyse(r.reshape(-1,4,4)); p2,d2=haar.analyse(p1)
    N=len(r)
    return p2.reshape(N,3,-1), d2.reshape(N,3,-1), d1.reshape(N,3,-1)
sets={}
with np.load('/tmp/small/small.npz') as c: sets['cifar+icons']=c['train'][:5000]
ph=[]
for f in sorted(glob.glob('/work/shared/data/photos/train/*'))[:200]:
    im=np.asarray(Image.open(f).convert('RGB')); ph.append(im[:256,:256]); 
sets['photos256']=np.array(ph)
for k,s in sets.items():
    r=roots(s); rms=lambda x: np.sqrt((x**2).mean(axis=(0,2)))
    b=bands(r)
    print(k,len(r),'root rms',np.round(np.sqrt((r**2).mean(axis=(0,2,3))),1),'bands',[np.round(rms(x),1) for x in b])
    for nl in (28,48):
        sd=127.5*math.sqrt(2**(-2-nl/8))/8   # in root units /2^3
        ev=lambda x,p: (0.5*np.log2(1+(p/sd)**2)+ (x**2/(sd**2+p**2)/2/math.log(2)))
        now=sum(ev(r[:,c],q).sum()/len(r) for c,q in enumerate((150,60,40)))
        best=sum(ev(r[:,c],np.sqrt((r[:,c]**2).mean())).sum()/len(r) for c in range(3))
        tr=sum(ev(x[:,c],np.sqrt((x[:,c]**2).mean())).sum()/len(r) for x in b for c in range(3))
        fix=sum(ev(x[:,c],q[c]).sum()/len(r) for x,q in zip(b,((380,110,64),(150,40,22),(76,19,11))) for c in range(3))
        print(nl,'bits now %.1f best deviations %.1f transform %.1f fixed %.1f'%(now,best,tr,fix))
